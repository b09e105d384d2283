"""A turn's answer as a chat completion."""

from __future__ import annotations

from typing import Any

import orjson

from cowork.dialects.answer_head import AnswerHead, answer_text
from cowork.dialects.outcomes import COMPLETED, outcome_of
from cowork.dialects.usage import chat_usage
from cowork.events import Done


def completion_id(head: AnswerHead) -> str:
    """The completion's id."""
    return f"chatcmpl-{head.turn_id}"


def chat_reply(head: AnswerHead, done: Done) -> dict[str, Any]:
    """The completion of a turn that has an answer."""
    outcome = outcome_of(done, has_forced_tool=head.forced_tool is not None) or COMPLETED
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    if outcome.finish_reason == "tool_calls":
        message["tool_calls"] = [tool_call(head, done)]
    else:
        message["content"] = answer_text(done)
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": outcome.finish_reason,
    }
    return {
        "id": completion_id(head),
        "object": "chat.completion",
        "created": head.created,
        "model": head.model,
        "choices": [choice],
        "usage": chat_usage(done),
        "cowork": head.facts(done),
    }


def tool_call(head: AnswerHead, done: Done) -> dict[str, Any]:
    """The answer of a turn as the call of the tool that was forced."""
    arguments = orjson.dumps(done.structured_output).decode()
    return {
        "id": f"call_{head.turn_id}",
        "type": "function",
        "function": {"name": head.forced_tool, "arguments": arguments},
    }
