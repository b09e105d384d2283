"""`POST /sessions/{project_id}/fork` and `/rewind`: go on from an earlier place."""

from __future__ import annotations

import time
from typing import Any

from flask import g, request

from cowork.errors import ProjectBusy, TurnInterrupted
from cowork.model import Project
from cowork.stores.serialization import session_of
from cowork.turns.service import TurnService
from cowork.turns.session_change import SessionChange
from cowork.turns.turn import Turn
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.disconnects import Disconnects
from cowork.web.idempotency_header import key_of
from cowork.web.problems import ClientClosedRequest
from cowork.web.project_of import project_of
from cowork.web.schemas.asking import AskHeaders
from cowork.web.schemas.problems import ProblemReply
from cowork.web.schemas.sessions import (
    NOT_RESTORED,
    ChangedSessionReply,
    ForkBody,
    RewindBody,
    RewindReply,
)
from cowork.web.session_reading import session_facts
from cowork.web.turn_end import wait_for_end

_RETRY_LATER = "Unavailable, or over a limit; `Retry-After` says when to retry, where that is known"


def blueprint(
    turn_service: TurnService, disconnects: Disconnects, *, timeout: float
) -> CoworkBlueprint:
    """Of the caller's own sessions, into its own projects; `timeout` (s) bounds a wait's parts."""
    routes = CoworkBlueprint("forks", __name__, description="Sessions from an earlier place on")

    @routes.post("/sessions/<project_id>/fork")
    @routes.arguments(ForkBody)
    @routes.headers(AskHeaders)
    @routes.response(201, ChangedSessionReply)
    @routes.alt_response(404, schema=ProblemReply)
    @routes.alt_response(409, schema=ProblemReply, description="The target has one, or is busy")
    @routes.alt_response(429, schema=ProblemReply, description=_RETRY_LATER)
    @routes.alt_response(503, schema=ProblemReply, description=_RETRY_LATER)
    def fork_session(body: dict[str, Any], project_id: str) -> dict[str, Any]:
        """Begin another project with what was said in this one, up to the end of a turn."""
        change = SessionChange(body["at_turn"], to=body["to"])
        return _session(_change("fork", project_of(project_id), change, body))

    @routes.post("/sessions/<project_id>/rewind")
    @routes.arguments(RewindBody)
    @routes.headers(AskHeaders)
    @routes.response(200, RewindReply)
    @routes.alt_response(404, schema=ProblemReply)
    @routes.alt_response(409, schema=ProblemReply, description="It is busy, or files stay changed")
    @routes.alt_response(429, schema=ProblemReply, description=_RETRY_LATER)
    @routes.alt_response(502, schema=ProblemReply, description="The CLI failed")
    @routes.alt_response(503, schema=ProblemReply, description=_RETRY_LATER)
    def rewind_session(body: dict[str, Any], project_id: str) -> dict[str, Any]:
        """Have the conversation go on behind the end of a turn, and files be as they were then."""
        change = SessionChange(body["to_turn"], files=body["files"])
        made = _change("rewind", project_of(project_id), change, body)
        return {**_session(made), "files": _files(made["files"], body["files"])}

    def _change(
        kind: str, project: Project, change: SessionChange, body: dict[str, Any]
    ) -> dict[str, Any]:
        """What became of it, when its turn in the project's queue has come and gone."""
        key = key_of({kind: project.name, **body}, request.headers.get("Idempotency-Key"))
        turn, g.replayed = turn_service.change_session(
            project, change, on_busy=body["on_busy"], key=key
        )
        turn.add_reader()
        try:
            _wait(turn)
        finally:
            turn.remove_reader()
        if turn.error is not None:
            raise turn.error
        if turn.done is None or turn.done.change is None:
            raise ClientClosedRequest
        return dict(turn.done.change)

    def _wait(turn: Turn) -> None:
        """Wait for the project, and then for the change: a time limit each."""
        wait_for_end(turn, disconnects, time.monotonic() + timeout)
        if turn.done is not None:
            return
        turn_service.interrupts.stop_waiting(turn)
        wait_for_end(turn, disconnects)
        if isinstance(turn.error, TurnInterrupted) and turn.started is None:
            raise ProjectBusy(f"the project was busy for {timeout:g} seconds", retry_after=5)

    return routes


def _session(made: dict[str, Any]) -> dict[str, Any]:
    session = session_of(Project(g.owner, made["project"]), made["session"])
    return session_facts(session, made["title"])


def _files(found: dict[str, Any] | None, mode: str) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"mode": mode, **found, "not_restored": NOT_RESTORED}
