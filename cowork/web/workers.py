"""`GET /workers`: the workers that answer questions, on all machines."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import g

from cowork.errors import Forbidden
from cowork.model import WorkerInfo
from cowork.settings.api_keys import Operators
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.schemas.problems import ProblemReply
from cowork.web.schemas.processes import WorkersReply
from cowork.web.timestamps import rfc3339


def blueprint(workers: Callable[[], list[WorkerInfo]], operators: Operators) -> CoworkBlueprint:
    """For operators alone: it tells of every owner's projects, by number."""
    routes = CoworkBlueprint("workers", __name__, description="Workers, on all machines")

    @routes.get("/workers")
    @routes.response(200, WorkersReply)
    @routes.alt_response(403, schema=ProblemReply, description="For operators alone")
    def list_workers() -> dict[str, Any]:
        """The workers that take questions, what each has and when it last said so."""
        if not operators.may_administer(g.key_owner):
            raise Forbidden("only an operator may see the workers; see COWORK_ADMIN_KEYS")
        found = sorted(workers(), key=lambda worker: (worker.host, worker.started, worker.holder))
        return {"workers": [_worker_reply(worker) for worker in found], "count": len(found)}

    return routes


def _worker_reply(worker: WorkerInfo) -> dict[str, Any]:
    beat = datetime.now(UTC) - timedelta(seconds=worker.silent_s)
    return {
        "name": worker.holder,
        "host": worker.host,
        "pid": worker.pid,
        "started_at": rfc3339(worker.started),
        "projects": worker.projects,
        "processes": worker.processes,
        "free": worker.free,
        "lag_ms": worker.lag_ms,
        "last_beat": rfc3339(beat),
    }
