"""A turn's events as the chunks of a chat completion.

No `event:` lines, and no frames of other shapes: clients break on them.  What has no place in the
protocol stands in a chunk without choices, which all of them pass over.
"""

from __future__ import annotations

from typing import Any

import orjson

from cowork.dialects.answer_head import AnswerHead, answer_text
from cowork.dialects.chat.reply import completion_id, tool_call
from cowork.dialects.errors import openai_error, row_of_code
from cowork.dialects.outcomes import outcome_of
from cowork.dialects.usage import chat_usage
from cowork.events import Done, Event, Failed, Replace, Thinking
from cowork.turns.event_bodies import event_body

END = b"data: [DONE]\n\n"
_TOKEN_END = b'},"finish_reason":null}]}\n\n'


class ChatRenderer:
    """Renders one turn for one reader."""

    keep_alive = b": keep-alive\n"

    def __init__(self, head: AnswerHead) -> None:
        self._head = head
        self._chunk: dict[str, Any] = {
            "id": completion_id(head),
            "object": "chat.completion.chunk",
            "created": head.created,
            "model": head.model,
        }
        # What stands before each token and behind it: made once, so that a token is one join.
        before = orjson.dumps({**self._chunk, "choices": []})[:-2]
        self._token = b'data: %b{"index":0,"delta":{"content":' % before
        self._next_token = _TOKEN_END + self._token
        self._failure: Failed | None = None

    def begin(self) -> bytes:
        """The chunk with the role, without which openai's JavaScript client raises."""
        return self._delta({"role": "assistant", "content": ""})

    def tokens(self, literals: list[bytes], number: int) -> bytes:  # noqa: ARG002
        """A chunk for each token: one join."""
        if self._head.hides_tokens:
            return b""
        return self._token + self._next_token.join(literals) + _TOKEN_END

    def event(self, event: Event, number: int) -> bytes:  # noqa: ARG002
        """The chunks of another event."""
        match event:
            case Thinking() if "thinking" in self._head.events:
                return self._delta({"reasoning_content": event.text})
            case Thinking() | Replace():  # the end has the whole text
                return b""
            case Failed():  # its end says whether it is a refusal, which is an answer
                self._failure = event
                return b""
            case Done():
                return self._end(event)
        body = event_body(event, self._head.events)
        return b"" if body is None else self._frame({"choices": [], "cowork": body})

    def _end(self, done: Done) -> bytes:
        head = self._head
        outcome = outcome_of(done, has_forced_tool=head.forced_tool is not None)
        if outcome is None:
            return self._error() + END
        answer = b""
        if outcome.finish_reason == "tool_calls":
            answer = self._delta({"tool_calls": [{"index": 0, **tool_call(head, done)}]})
        elif head.hides_tokens:
            answer = self._delta({"content": answer_text(done)})
        last = {"choices": [{"index": 0, "delta": {}, "finish_reason": outcome.finish_reason}]}
        facts = head.facts(done)
        if done.replaced and not head.hides_tokens:
            facts["message"] = done.message
        if not head.wants_usage:
            return answer + self._frame({**last, "cowork": facts}) + END
        usage = {"choices": [], "usage": chat_usage(done), "cowork": facts}
        return answer + self._frame(last) + self._frame(usage) + END

    def _error(self) -> bytes:
        failure = self._failure or Failed("internal", "the turn ended without an answer")
        told = openai_error(row_of_code(failure.code), failure.message, failure.code)
        return b"data: %b\n\n" % orjson.dumps(told)

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return self._frame({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})

    def _frame(self, said: dict[str, Any]) -> bytes:
        return b"data: %b\n\n" % orjson.dumps({**self._chunk, **said})
