"""`GET /sessions`, `DELETE /sessions/{project_id}`, its interrupt and `warm`."""

from __future__ import annotations

from typing import Any

from flask import g

from cowork.claude.launch_options import LaunchOptions
from cowork.stores.protocol import Store
from cowork.turns.service import TurnService
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.project_of import project_of
from cowork.web.schemas.base import NOT_DONE, MessageReply
from cowork.web.schemas.problems import ProblemReply
from cowork.web.schemas.sessions import SessionsQuery, SessionsReply, WarmBody
from cowork.web.schemas.turns import InterruptReply
from cowork.web.session_reading import details


def blueprint(turn_service: TurnService, store: Store) -> CoworkBlueprint:
    """The caller's own sessions; another owner's are not there."""
    routes = CoworkBlueprint("sessions", __name__, description="A session per project")

    @routes.get("/sessions")
    @routes.arguments(SessionsQuery, location="query")
    @routes.response(200, SessionsReply)
    def list_sessions(query: dict[str, Any]) -> dict[str, Any]:
        """All of the caller's sessions, by project; or `details` of some, newest first."""
        if query["details"]:
            return details(store, turn_service, query)
        found = {kept.project.name: kept.id for kept in store.sessions(g.owner)}
        return {"sessions": found, "count": len(found)}

    @routes.delete("/sessions/<project_id>")
    @routes.response(200, MessageReply)
    @routes.alt_response(503, schema=ProblemReply, description=NOT_DONE)
    def delete_session(project_id: str) -> dict[str, Any]:
        """Delete a project's session and its history; a running turn is interrupted.

        Turns that had ended are 410 `turn_expired` from then on, and their idempotency keys ask
        anew; of turns that this ends, nothing but that they were interrupted is kept.  What the
        CLI keeps of the session is removed too, the workspace is not.
        """
        project = project_of(project_id)
        if turn_service.deletion.delete(project):
            return {"success": True, "message": f"Session cleared for {project_id}"}
        return {"success": False, "message": f"No session found for {project_id}"}

    @routes.post("/sessions/<project_id>/interrupt")
    @routes.response(200, InterruptReply)
    @routes.alt_response(503, schema=ProblemReply, description=NOT_DONE)
    def interrupt_session(project_id: str) -> dict[str, Any]:
        """Interrupt the project's running turn; nothing to interrupt is no error."""
        turn = turn_service.interrupts.interrupt_project(project_of(project_id))
        if turn is None:
            nothing = f"Nothing runs for {project_id}"
            return {"success": False, "turn_id": None, "state": None, "message": nothing}
        said = f"Interrupted {project_id}"
        return {"success": True, "turn_id": turn.id, "state": turn.state.value, "message": said}

    @routes.post("/sessions/<project_id>/warm")
    @routes.arguments(WarmBody, required=False)
    @routes.response(204)
    @routes.alt_response(503, schema=ProblemReply, description="No process available")
    def warm_session(body: dict[str, Any], project_id: str) -> None:
        """Have the project's process ready before its next question; answers when it is.

        The body, if there is one, has what the question will of that a process is started with.
        """
        approves = turn_service.checks.approves(body["approvals"])
        options = LaunchOptions(approvals=approves, todo="todo" in (body["events"] or ()))
        turn_service.warm(project_of(project_id), options)

    return routes
