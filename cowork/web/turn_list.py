"""`GET /sessions/{project_id}/turns`: the turns of a project, newest first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError

from cowork.errors import CoworkError, SessionNotFound
from cowork.model import Project, TurnFilter, TurnPlace
from cowork.stores.protocol import Store
from cowork.turns.listing import ListedTurn, short_texts
from cowork.turns.registry import TurnRegistry
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.problems import InvalidBody, faults_of
from cowork.web.project_of import project_of
from cowork.web.schemas.problems import ProblemReply
from cowork.web.schemas.turns import TurnsQuery, TurnsReply
from cowork.web.timestamps import rfc3339
from cowork.web.turns import error_facts, turn_reply

# What a list leaves out: it is in each turn's own reply, and may be of any size.
_LEFT_OUT = ("structured_output", "usage_by_model", "permission_denials", "files_changed")


def blueprint(registry: TurnRegistry, store: Store) -> CoworkBlueprint:
    """The caller's own projects; another owner's are not there."""
    routes = CoworkBlueprint("turn_list", __name__, description="The turns of a project")

    @routes.get("/sessions/<project_id>/turns")
    @routes.arguments(TurnsQuery, location="query")
    @routes.response(200, TurnsReply)
    @routes.alt_response(404, schema=ProblemReply)
    def list_turns(query: dict[str, Any], project_id: str) -> dict[str, Any]:
        """The project's turns that are kept, those that run and wait too, newest first.

        Each as `GET /turns/{turn_id}` has it, but for long texts; `next` is the cursor of what is
        left, which may come in smaller pages than were asked for.
        """
        project = project_of(project_id)
        before = _place_of(query["cursor"])
        page = registry.page(project, TurnFilter(query["limit"], query["state"], before))
        if not page.turns and before is None:
            _check_known(project)
        turns = [_listed(turn) for turn in page.turns]
        following = None if page.next is None else _cursor(page.next)
        return {"turns": turns, "count": len(turns), "next": following}

    def _check_known(project: Project) -> None:
        if store.session(project) is None and not registry.page(project, TurnFilter(1)).turns:
            raise SessionNotFound("the project has neither a session nor turns")

    return routes


def _listed(turn: ListedTurn) -> dict[str, Any]:
    reply = {name: value for name, value in turn_reply(turn).items() if name not in _LEFT_OUT}
    if turn.error is not None:
        reply["error"] = error_reply(turn.error)
    return {**reply, "message_truncated": turn.is_cut}


def error_reply(error: CoworkError) -> dict[str, Any]:
    """A turn's error as lists have it: long texts are cut."""
    return short_texts(error_facts(error))


def _cursor(place: TurnPlace) -> str:
    return f"{rfc3339(place.created)} {place.id}"


def _place_of(cursor: str | None) -> TurnPlace | None:
    """Where the list goes on; raises where it is no cursor of ours."""
    if cursor is None:
        return None
    created, _, turn_id = cursor.partition(" ")
    try:
        at = datetime.strptime(created, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError as wrong:
        fault = ValidationError({"query": {"cursor": ["Input should be a `next` of this list"]}})
        raise InvalidBody(faults_of(fault)) from wrong
    return TurnPlace(at, turn_id)
