"""`POST /sessions/{project_id}/fork` and `/rewind`: go on from an earlier place."""

from __future__ import annotations

from typing import Any

from flask import g

from cowork.model import Session
from cowork.stores.protocol import Store
from cowork.turns.forks import Forks
from cowork.turns.service import TurnService
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.project_of import project_of
from cowork.web.schemas import ForkBody, ProblemReply, RewindBody, SessionReply
from cowork.web.session_reading import session_reply


def blueprint(turn_service: TurnService, store: Store, forks: Forks) -> CoworkBlueprint:
    """Of the caller's own sessions, into its own projects."""
    routes = CoworkBlueprint("forks", __name__, description="Sessions from an earlier place on")

    @routes.post("/sessions/<project_id>/fork")
    @routes.arguments(ForkBody)
    @routes.response(201, SessionReply)
    @routes.alt_response(404, schema=ProblemReply)
    @routes.alt_response(409, schema=ProblemReply, description="The target has one, or is busy")
    def fork_session(body: dict[str, Any], project_id: str) -> dict[str, Any]:
        """Begin another project with what was said in this one, up to the end of a turn."""
        session = forks.fork(project_of(project_id), project_of(body["to"]), body["at_turn"])
        return _stands(session)

    @routes.post("/sessions/<project_id>/rewind")
    @routes.arguments(RewindBody)
    @routes.response(200, SessionReply)
    @routes.alt_response(404, schema=ProblemReply)
    @routes.alt_response(409, schema=ProblemReply, description="It is busy")
    def rewind_session(body: dict[str, Any], project_id: str) -> dict[str, Any]:
        """Have the conversation go on behind the end of a turn; files stay as they are."""
        return _stands(forks.rewind(project_of(project_id), body["to_turn"]))

    def _stands(session: Session) -> dict[str, Any]:
        titles = store.titles(g.owner)
        return session_reply(session, titles, turn_service.describe(session.project))

    return routes
