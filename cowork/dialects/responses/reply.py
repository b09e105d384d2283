"""A turn as one of OpenAI's responses, in whatever state it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from cowork.dialects.answer_head import DEFAULT_MODEL, answer_text
from cowork.dialects.errors import row_of_code
from cowork.dialects.outcomes import outcome_of
from cowork.dialects.responses.reading import PREFIX
from cowork.dialects.usage import responses_usage
from cowork.errors import TurnInterrupted
from cowork.events import Done, Failed
from cowork.turns.outcome import TurnState
from cowork.turns.turn import Turn

_STATUSES = {TurnState.QUEUED: "queued"}


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What a response says besides its turn's events; `echo` is what it repeats of its request."""

    turn_id: str
    created: int
    echo: Mapping[str, Any]

    @classmethod
    def of(cls, turn: Turn) -> ResponseHead:
        """Of any turn, also of one that was asked by another API's client."""
        return cls(turn.id, int(turn.created.timestamp()), turn.question.echo or {})

    @property
    def item_id(self) -> str:
        """Of the one item of its output."""
        return f"msg_{self.turn_id.replace('-', '')}"

    @property
    def tool(self) -> str | None:
        """The tool whose call is the answer."""
        return self.echo.get("tool")

    @property
    def hides_tokens(self) -> bool:
        """Whether what the model writes meanwhile is not the answer."""
        form = self.echo.get("format", {})
        return self.tool is not None or form.get("type", "text") != "text"


def response(head: ResponseHead, status: str, **more: Any) -> dict[str, Any]:
    """A response of that status; `more` is what it has besides."""
    echo = head.echo
    return {
        "id": f"{PREFIX}{head.turn_id}",
        "object": "response",
        "created_at": head.created,
        "status": status,
        "background": echo.get("background", False),
        "error": None,
        "incomplete_details": None,
        "instructions": echo.get("instructions"),
        "model": echo.get("model", DEFAULT_MODEL),
        "output": [],
        "parallel_tool_calls": False,
        "previous_response_id": echo.get("previous_response_id"),
        "tools": [],
        "tool_choice": "auto",
        "text": {"format": echo.get("format", {"type": "text"})},
        "temperature": None,
        "top_p": None,
        "max_output_tokens": None,
        "metadata": echo.get("metadata", {}),
        "store": True,
        "usage": None,
        **more,
    }


def response_of(turn: Turn) -> dict[str, Any]:
    """The turn as it stands."""
    head, done, error = ResponseHead.of(turn), turn.done, turn.error
    if done is None:
        return response(head, _STATUSES.get(turn.state, "in_progress"))
    failure = None if error is None else Failed(error.code, error.message)
    return ended_response(head, done, failure)


def ended_response(head: ResponseHead, done: Done, failure: Failed | None) -> dict[str, Any]:
    """The response of a turn that has ended."""
    facts = {
        "turn_id": head.turn_id,
        "session_id": done.session_id,
        "session_state": done.session_state,
        "cost_usd": done.cost_usd,
        "duration_ms": done.duration_ms,
    }
    told = {"usage": responses_usage(done), "cowork": facts}
    outcome = outcome_of(done, has_forced_tool=head.tool is not None)
    if outcome is None:
        failure = failure or Failed("internal", "the turn ended without an answer")
        if failure.code == TurnInterrupted.code:
            return response(head, "cancelled", **told)
        error = {
            "code": row_of_code(failure.code).code or failure.code,
            "message": failure.message,
        }
        return response(head, "failed", error=error, **told)
    why = outcome.incomplete_reason
    details = None if why is None else {"reason": why}
    output = [answer_item(head, done)]
    return response(head, outcome.status, output=output, incomplete_details=details, **told)


def answer_item(head: ResponseHead, done: Done) -> dict[str, Any]:
    """The one item of an answer's output: a message, or the call of the tool that was forced."""
    if calls_tool(head, done):
        return call_item(head, "completed", orjson.dumps(done.structured_output).decode())
    return message_item(head, "completed", [text_part(answer_text(done))])


def calls_tool(head: ResponseHead, done: Done) -> bool:
    """Whether the answer is the call of the tool that was forced."""
    outcome = outcome_of(done, has_forced_tool=head.tool is not None)
    return outcome is not None and outcome.finish_reason == "tool_calls"


def message_item(head: ResponseHead, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    """An item that is a message."""
    return {
        "type": "message",
        "id": head.item_id,
        "status": status,
        "role": "assistant",
        "content": content,
    }


def call_item(head: ResponseHead, status: str, arguments: str) -> dict[str, Any]:
    """An item that is a call of the tool that was forced."""
    return {
        "type": "function_call",
        "id": f"fc_{head.turn_id.replace('-', '')}",
        "call_id": f"call_{head.turn_id}",
        "name": head.tool,
        "arguments": arguments,
        "status": status,
    }


def text_part(text: str) -> dict[str, Any]:
    """A part of a message that is text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
