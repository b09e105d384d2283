"""`GET /processes`: the CLI processes of all workers, and what each takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import g

from cowork.claude.pool.slot import ProcessInfo
from cowork.settings.api_keys import Operators
from cowork.turns.workers.process_directory import ProcessDirectory
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.schemas.base import MessageReply
from cowork.web.schemas.problems import ProblemReply
from cowork.web.schemas.processes import ProcessesReply
from cowork.web.timestamps import rfc3339


def blueprint(directory: ProcessDirectory, operators: Operators) -> CoworkBlueprint:
    """The processes of the caller's own projects, and the spares; another owner's are not there."""
    routes = CoworkBlueprint("processes", __name__, description="CLI processes")

    @routes.get("/processes")
    @routes.response(200, ProcessesReply)
    def list_processes() -> dict[str, Any]:
        """The processes of the caller's projects, and the spares, of all workers.

        Where there are several, each says its `worker`, and those that did not answer in time are
        `unreachable`.
        """
        found = directory.find(g.owner)
        listed = [_process_reply(each.info, each.worker) for each in found.processes]
        told: dict[str, Any] = {"processes": listed, "count": len(listed)}
        if found.unreachable is not None:
            told["unreachable"] = list(found.unreachable)
        return told

    @routes.delete("/processes/<process_id>")
    @routes.response(200, MessageReply)
    @routes.alt_response(404, schema=ProblemReply)
    @routes.alt_response(409, schema=ProblemReply, description="It does something")
    @routes.alt_response(503, schema=ProblemReply, description="A worker does not answer")
    def end_process(process_id: str) -> dict[str, Any]:
        """End an idle process of the caller's; its project's next question resumes the session.

        Whichever worker has it.  Spares are for operators.
        """
        is_operator = operators.may_administer(g.key_owner)
        directory.end(process_id, g.owner, is_operator=is_operator)
        return {"success": True, "message": "The process was ended"}

    return routes


def _process_reply(info: ProcessInfo, worker: str | None) -> dict[str, Any]:
    used = None
    if info.idle is not None:
        used = rfc3339(datetime.now(UTC) - timedelta(seconds=info.idle))
    return {
        "id": info.id,
        "pid": info.pid,
        "project": info.project.told_name if info.project is not None else None,
        "state": info.state.value,
        "age_seconds": round(info.age, 3),
        "turns": info.turns,
        "memory_bytes": info.memory,
        "last_used": used,
        **({"unnamed": True} if info.project is not None and info.project.is_unnamed else {}),
        **({} if worker is None else {"worker": worker}),
    }
