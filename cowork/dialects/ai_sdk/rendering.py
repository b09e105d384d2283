"""A turn's events as the AI SDK's UI message stream.

Any type of frame that is not in the protocol ends the client's stream, so that what the protocol
has no word for is a transient `data-cowork`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from cowork.dialects.outcomes import REFUSED, outcome_of
from cowork.errors import TurnInterrupted
from cowork.events import Done, Event, Failed, Thinking, ToolResult, ToolUse
from cowork.turns.event_bodies import event_body
from cowork.turns.turn import Turn

END = b"data: [DONE]\n\n"
# What the client gets of a turn unless it says which kinds it wants.
DEFAULT_EVENTS = frozenset({"tool", "thinking"})
# The agent's own tools: the client has declared none of them, and is not to run them.
_OURS = {"dynamic": True, "providerExecuted": True}


class UiMessageRenderer:
    """Renders one turn for one reader; `wanted` are kinds besides text.

    The message's id is the turn's: a client that reads the stream again from its first frame
    builds the same message anew.
    """

    keep_alive = b": keep-alive\n"

    def __init__(self, turn: Turn, wanted: frozenset[str]) -> None:
        self._turn = turn
        self._wanted = wanted
        self._block: str | None = None
        self._block_count = 0
        self._token = self._next_token = b""
        self._called: set[str] = set()
        self._failure: Failed | None = None

    def begin(self) -> bytes:
        """`start` and `start-step`."""
        metadata = {"turn_id": self._turn.id, "session_id": self._turn.session_id}
        start = {"type": "start", "messageId": self._turn.id, "messageMetadata": metadata}
        return _frame(start) + _frame({"type": "start-step"})

    def tokens(self, literals: list[bytes], number: int) -> bytes:  # noqa: ARG002
        """A `text-delta` for each token: one join."""
        opened = self._opened("text")
        return opened + self._token + self._next_token.join(literals) + b"}\n\n"

    def event(self, event: Event, number: int) -> bytes:  # noqa: ARG002
        """The frames of another event."""
        match event:
            case Thinking():
                return self._thinking(event)
            case ToolUse() | ToolResult():
                return self._tool(event)
            case Failed():  # its end says whether it is a refusal, which is an answer
                self._failure = event
                return b""
            case Done():
                return self._end(event)
        body = event_body(event, self._wanted)
        if body is None or body["type"] == "replace":  # the end tells the whole text
            return b""
        return _frame({"type": "data-cowork", "data": body, "transient": True})

    def _thinking(self, event: Thinking) -> bytes:
        if "thinking" not in self._wanted:
            return b""
        opened = self._opened("reasoning")
        return opened + self._token + orjson.dumps(event.text) + b"}\n\n"

    def _tool(self, event: ToolUse | ToolResult) -> bytes:
        if "tool" not in self._wanted:
            return b""
        if isinstance(event, ToolUse):
            self._called.add(event.id)
            called = {"toolCallId": event.id, "toolName": event.name, "input": event.input}
            return self._closed() + _frame({"type": "tool-input-available", **called, **_OURS})
        if event.id not in self._called:  # a result without its call ends the client's stream
            return b""
        told: dict[str, Any] = {"type": "tool-output-available", "toolCallId": event.id}
        if event.is_error:
            told |= {"type": "tool-output-error", "errorText": event.content}
        else:
            told["output"] = event.content
        return self._closed() + _frame({**told, **_OURS})

    def _end(self, done: Done) -> bytes:
        outcome = outcome_of(done, has_forced_tool=False)
        if outcome is None:
            failure = self._failure or Failed("internal", "the turn ended without an answer")
            return self._closed() + _frame(_failure(failure)) + END
        metadata = {
            "turn_id": self._turn.id,
            "session_id": done.session_id,
            "usage": done.usage,
            "cost_usd": done.cost_usd,
            "duration_ms": done.duration_ms,
        }
        if done.replaced:
            metadata["message"] = done.message
        reason = "content-filter" if outcome == REFUSED else "stop"
        finish = {"type": "finish", "finishReason": reason, "messageMetadata": metadata}
        return self._closed() + _frame({"type": "finish-step"}) + _frame(finish) + END

    def _opened(self, kind: str) -> bytes:
        """The frame that begins a block of this kind, behind the end of one of the other."""
        if self._block == kind:
            return b""
        closed = self._closed()
        self._block = kind
        self._block_count += 1
        name = self._block_id(kind)
        before = orjson.dumps({"type": f"{kind}-delta", "id": name, "delta": ""})
        self._token = b"data: %b" % before.removesuffix(b'""}')
        self._next_token = b"}\n\n" + self._token
        return closed + _frame({"type": f"{kind}-start", "id": name})

    def _closed(self) -> bytes:
        """The frame that ends the block that is open, if one is."""
        kind, self._block = self._block, None
        return b"" if kind is None else _frame({"type": f"{kind}-end", "id": self._block_id(kind)})

    def _block_id(self, kind: str) -> str:
        return f"{kind}-{self._block_count}"


def _failure(event: Failed) -> Mapping[str, Any]:
    if event.code == TurnInterrupted.code:
        return {"type": "abort", "reason": event.message}
    return {"type": "error", "errorText": event.message}


def _frame(value: Mapping[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(value)
