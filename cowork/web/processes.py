"""`GET /processes`: the CLI processes, and what each takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import g

from cowork.claude.pool.pool import Pool
from cowork.claude.pool.slot import ProcessInfo
from cowork.model import Project
from cowork.settings.api_keys import Operators
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.schemas import MessageReply, ProblemReply, ProcessesReply
from cowork.web.timestamps import rfc3339


def blueprint(pool: Pool, operators: Operators) -> CoworkBlueprint:
    """The processes of the caller's own projects, and the spares; another owner's are not there."""
    routes = CoworkBlueprint("processes", __name__, description="CLI processes")

    @routes.get("/processes")
    @routes.response(200, ProcessesReply)
    def list_processes() -> dict[str, Any]:
        """The processes of the caller's projects, and the spares."""
        owner = g.owner

        def visible(project: Project | None) -> bool:
            return project is None or project.owner == owner

        found = [_process_reply(info) for info in pool.processes(visible)]
        return {"processes": found, "count": len(found)}

    @routes.delete("/processes/<process_id>")
    @routes.response(200, MessageReply)
    @routes.alt_response(404, schema=ProblemReply)
    @routes.alt_response(409, schema=ProblemReply, description="It does something")
    def end_process(process_id: str) -> dict[str, Any]:
        """End an idle process of the caller's; its project's next question resumes the session.

        Spares are for operators.
        """
        owner, is_operator = g.owner, operators.may_administer(g.key_owner)

        def visible(project: Project | None) -> bool:
            return is_operator if project is None else project.owner == owner

        pool.end_idle(process_id, visible)
        return {"success": True, "message": "The process was ended"}

    return routes


def _process_reply(info: ProcessInfo) -> dict[str, Any]:
    used = None
    if info.idle is not None:
        used = rfc3339(datetime.now(UTC) - timedelta(seconds=info.idle))
    return {
        "id": info.id,
        "pid": info.pid,
        "project": info.project.name if info.project is not None else None,
        "state": info.state.value,
        "age_seconds": round(info.age, 3),
        "turns": info.turns,
        "memory_bytes": info.memory,
        "last_used": used,
    }
