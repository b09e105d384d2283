"""A session as it stands, and what was said in it: `GET /sessions/{project_id}` and below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import pairwise
from typing import Any

from flask import g
from marshmallow import ValidationError

from cowork.claude.conversation import ConversationMessage
from cowork.errors import CoworkError, InvalidValue, SessionNotFound
from cowork.model import Session
from cowork.stores.protocol import Store
from cowork.turns.conversations import Conversations
from cowork.turns.project_state import ProjectState
from cowork.turns.service import TurnService
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.problems import InvalidBody, faults_of
from cowork.web.project_of import project_of
from cowork.web.schemas.problems import ProblemReply
from cowork.web.schemas.sessions import MessagesQuery, MessagesReply, SessionReply, TitleBody
from cowork.web.timestamps import rfc3339
from cowork.web.turn_list import error_reply


def blueprint(
    turn_service: TurnService, store: Store, conversations: Conversations
) -> CoworkBlueprint:
    """The caller's own sessions; another owner's are not there."""
    routes = CoworkBlueprint("session_reading", __name__, description="What a session holds")

    @routes.get("/sessions/<project_id>")
    @routes.response(200, SessionReply)
    @routes.alt_response(404, schema=ProblemReply)
    def read_session(project_id: str) -> dict[str, Any]:
        """A project's session: what it is doing, and what it took."""
        project = project_of(project_id)
        session = store.session(project)
        if session is None:
            raise SessionNotFound("the project has no session")
        return session_reply(session, store.titles(g.owner), turn_service.describe(project))

    @routes.patch("/sessions/<project_id>")
    @routes.arguments(TitleBody)
    @routes.response(200, SessionReply)
    @routes.alt_response(404, schema=ProblemReply)
    def change_session(body: dict[str, Any], project_id: str) -> dict[str, Any]:
        """Give it a title, or with null take it back."""
        if not store.put_title(project_of(project_id), body["title"]):
            raise SessionNotFound("the project has no session")
        found: dict[str, Any] = read_session(project_id)
        return found

    @routes.get("/sessions/<project_id>/messages")
    @routes.arguments(MessagesQuery, location="query")
    @routes.response(200, MessagesReply)
    @routes.alt_response(404, schema=ProblemReply)
    def list_messages(query: dict[str, Any], project_id: str) -> dict[str, Any]:
        """The conversation, oldest first; `next` is the cursor of what is left.

        The first messages, those behind `after`, the last before `before`, or the `last`.
        """
        _check_cursors(query)
        project = project_of(project_id)
        try:
            page = conversations.page(
                project,
                limit=query["limit"],
                before=query["before"],
                after=query["after"],
                last=query["last"],
            )
        except InvalidValue as wrong:
            fault = ValidationError({"query": {wrong.field: [wrong.message]}})
            raise InvalidBody(faults_of(fault)) from wrong
        found = _with_errors(page.messages, turn_service.registry.failures(project))
        return {"messages": found, "source": page.source, "next": page.next}

    return routes


def _check_cursors(query: dict[str, Any]) -> None:
    """Raise where they do not go together."""
    if query["after"] is None:
        return
    for name in ("before", "last"):
        if query[name]:
            sentence = f"Input should not be beside `{name}`"
            raise InvalidBody(faults_of(ValidationError({"query": {"after": [sentence]}})))


def details(store: Store, turn_service: TurnService, query: dict[str, Any]) -> dict[str, Any]:
    """The caller's sessions behind a cursor, newest first."""
    found = sorted(store.sessions(g.owner), key=_newest, reverse=True)
    if query["cursor"] is not None:
        found = [each for each in found if _cursor(each) < query["cursor"]]
    shown, more = found[: query["limit"]], len(found) > query["limit"]
    titles = store.titles(g.owner)
    said = [session_reply(each, titles, turn_service.describe(each.project)) for each in shown]
    return {"sessions": said, "count": len(said), "next": _cursor(shown[-1]) if more else None}


def _newest(session: Session) -> tuple[datetime, str]:
    return session.last_used, session.project.name


def _cursor(session: Session) -> str:
    """What sorts as `_newest` does."""
    return f"{rfc3339(session.last_used)} {session.project.name}"


def session_reply(session: Session, titles: dict[str, str], now: ProjectState) -> dict[str, Any]:
    """A session as it stands."""
    process = None
    if now.process is not None:
        process = dict(zip(("pid", "state", "memory_bytes"), now.process, strict=True))
    return {
        **session_facts(session, titles.get(session.project.name)),
        "state": now.state,
        "queued": now.queued,
        "running_turn_id": now.turn_id,
        "process": process,
    }


def session_facts(session: Session, title: str | None) -> dict[str, Any]:
    """What is kept of a session, whatever it does now."""
    return {
        "project_id": session.project.name,
        "session_id": session.id,
        "title": title,
        "created_at": rfc3339(session.created),
        "last_used_at": rfc3339(session.last_used),
        "turns": session.turns,
        "usage": asdict(session.usage),
        "total_cost_usd": session.cost_usd,
        "directory": session.cwd,
        "context": _context(session),
        "last_words": session.last_words or None,
    }


def _context(session: Session) -> dict[str, int] | None:
    if not session.context_tokens or not session.context_limit:
        return None
    return {"tokens": session.context_tokens, "limit": session.context_limit}


def _with_errors(
    messages: Sequence[ConversationMessage], failures: Mapping[str, CoworkError]
) -> list[dict[str, Any]]:
    """The messages; the last one of each turn that failed says why, as far as that is known."""
    found: list[dict[str, Any]] = []
    for message, following in pairwise([*messages, None]):
        assert message is not None  # noqa: S101 - only the last one of all is
        turn_id, said = message.question_id, _message(message)
        error: CoworkError | None = message.error
        if turn_id is not None and (following is None or following.question_id != turn_id):
            error = failures.get(turn_id, error)
        found.append(said if error is None else {**said, "error": error_reply(error)})
    return found


def _message(message: ConversationMessage) -> dict[str, Any]:
    said: dict[str, Any] = {
        "id": message.id,
        "turn_id": message.question_id,
        "role": message.role,
        "created_at": rfc3339(message.created_at),
        "parts": list(message.parts),
        "state": message.state,
    }
    return said if message.usage is None else {**said, "usage": message.usage}
