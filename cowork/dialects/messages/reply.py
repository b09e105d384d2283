"""A turn's answer as one of Anthropic's messages."""

from __future__ import annotations

from typing import Any

from cowork.dialects.answer_head import AnswerHead, answer_text
from cowork.dialects.outcomes import COMPLETED, outcome_of
from cowork.dialects.usage import messages_usage
from cowork.events import Done


def message_id(head: AnswerHead) -> str:
    """The message's id."""
    return f"msg_{head.turn_id.replace('-', '')}"


def messages_reply(head: AnswerHead, done: Done) -> dict[str, Any]:
    """The message of a turn that has an answer."""
    outcome = outcome_of(done, has_forced_tool=head.forced_tool is not None) or COMPLETED
    content: dict[str, Any] = {"type": "text", "text": answer_text(done)}
    if outcome.stop_reason == "tool_use":
        content = {**tool_use(head), "input": done.structured_output}
    return {
        **message(head),
        "content": [content],
        "stop_reason": outcome.stop_reason,
        "usage": messages_usage(done),
        "cowork": head.facts(done),
    }


def message(head: AnswerHead) -> dict[str, Any]:
    """The message before its first word."""
    return {
        "id": message_id(head),
        "type": "message",
        "role": "assistant",
        "model": head.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def tool_use(head: AnswerHead) -> dict[str, Any]:
    """The call of the tool that was forced, without what it is called with."""
    name = f"toolu_{head.turn_id.replace('-', '')}"
    return {"type": "tool_use", "id": name, "name": head.forced_tool, "input": {}}
