"""`POST /ask_question` and `POST /ask_question_streaming`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from flask import Response, g

from cowork.conversation import Conversation
from cowork.stores.base import Project
from cowork.turns import Question, Turn
from cowork.web.bodies import CoworkBlueprint
from cowork.web.schemas import AskBody, AskReply, ProblemReply
from cowork.web.sse import HEADERS, Stream


def blueprint(
    conversation: Conversation, *, first_event_wait: float, keepalive: float
) -> CoworkBlueprint:
    """The two endpoints; waits are seconds."""
    routes = CoworkBlueprint("ask", __name__, description="Questions to a project")

    @routes.post("/ask_question")
    @routes.arguments(AskBody)
    @routes.response(200, AskReply)
    @routes.alt_response(502, schema=ProblemReply, description="Every failure has this shape")
    def ask_question(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Ask, and get the whole answer."""
        turn = _ask(conversation, body, streaming=False)
        return _whole(turn), {"X-Turn-ID": turn.id}

    @routes.post("/ask_question_streaming")
    @routes.arguments(AskBody)
    @routes.response(
        200,
        {"type": "string"},
        content_type="text/event-stream",
        description="`token`, `error` and other frames; the last has `done`.",
    )
    @routes.alt_response(502, schema=ProblemReply, description="Every failure has this shape")
    def ask_question_streaming(body: dict[str, Any]) -> Response:
        """Ask, and get the answer's tokens as the model writes them."""
        turn = _ask(conversation, body, streaming=True)
        stream = Stream(turn, frozenset(body["events"]), keepalive=keepalive)
        stream.start(first_event_wait)
        return Response(iter(stream), headers={**HEADERS, "X-Turn-ID": turn.id})

    return routes


def _ask(conversation: Conversation, body: dict[str, Any], *, streaming: bool) -> Turn:
    question = Question(
        text=body["question"],
        user_id=body["user_id"],
        message_type=body["message_type"],
        streaming=streaming,
    )
    turn = conversation.ask(Project(g.owner, body["project_name"]), question, body["agent_type"])
    g.turn_id = turn.id
    return turn


def _whole(turn: Turn) -> dict[str, Any]:
    """The reply of a turn that is waited for; its error is raised.

    A turn ends by its own time limits, so this wait has theirs.
    """
    done = None
    while done is None:
        done = turn.wait(time.monotonic() + 60.0)
    if turn.error is not None:
        raise turn.error
    return {
        "id": None,
        "message": done.message,
        "project_id": turn.project.name,
        "user_id": turn.question.user_id,
        "session_id": done.session_id,
        "is_new_session": done.is_new_session,
        "timestamp": datetime.now(UTC).isoformat(),
        "turn_id": turn.id,
        "usage": done.usage,
        "total_cost_usd": done.cost_usd,
        "duration_ms": done.duration_ms,
        **({"session_recovered": True} if done.session_recovered else {}),
    }
