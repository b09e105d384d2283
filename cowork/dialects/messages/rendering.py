"""A turn's events as the stream of one of Anthropic's messages.

No other types of events than Anthropic's own, which clients take for errors.  The usage is told at
the end: before that nobody knows it.
"""

from __future__ import annotations

from typing import Any

import orjson

from cowork.dialects.answer_head import AnswerHead, answer_text
from cowork.dialects.errors import anthropic_error, row_of_code
from cowork.dialects.messages.reply import message, tool_use
from cowork.dialects.outcomes import outcome_of
from cowork.dialects.usage import messages_usage
from cowork.events import Done, Event, Failed, Thinking, ToolUse

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_DELTA_END = b"}}\n\n"
_NO_USAGE = {"input_tokens": 0, "output_tokens": 0}
# Of each kind of block: how it begins, the type of its pieces, and their key.
_BLOCKS: dict[str, tuple[dict[str, Any], str, str]] = {
    "text": ({"type": "text", "text": ""}, "text_delta", "text"),
    "thinking": (
        {"type": "thinking", "thinking": "", "signature": ""},
        "thinking_delta",
        "thinking",
    ),
}


class MessagesRenderer:
    """Renders one turn for one reader."""

    keep_alive = PING

    def __init__(self, head: AnswerHead) -> None:
        self._head = head
        self._index = -1
        self._open: str | None = None
        self._piece = self._next_piece = b""
        self._failure: Failed | None = None

    def begin(self) -> bytes:
        """`message_start` and a `ping`."""
        start = {**message(self._head), "usage": _NO_USAGE}
        return _frame("message_start", {"message": start}) + PING

    def tokens(self, literals: list[bytes], number: int) -> bytes:  # noqa: ARG002
        """A `text_delta` for each token: one join."""
        if self._head.hides_tokens:
            return b""
        return self._pieces("text", literals)

    def event(self, event: Event, number: int) -> bytes:  # noqa: ARG002
        """The frames of another event."""
        match event:
            case Thinking() if "thinking" in self._head.events:
                return self._pieces("thinking", [orjson.dumps(event.text)])
            case ToolUse() if "tool" in self._head.events:
                call = {"id": event.id, "name": event.name, "input": {}}
                return self._call({"type": "server_tool_use", **call}, event.input)
            case Failed():  # its end says whether it is a refusal, which is an answer
                self._failure = event
            case Done():
                return self._end(event)
        return b""

    def _end(self, done: Done) -> bytes:
        head = self._head
        outcome = outcome_of(done, has_forced_tool=head.forced_tool is not None)
        if outcome is None:
            failure = self._failure or Failed("internal", "the turn ended without an answer")
            error = anthropic_error(row_of_code(failure.code), failure.message, None)["error"]
            return _frame("error", {"error": error})
        answer = b""
        if outcome.stop_reason == "tool_use":
            answer = self._call(tool_use(head), done.structured_output)
        elif head.hides_tokens or self._index < 0:  # clients look for a first block
            text = answer_text(done) if head.hides_tokens else ""
            answer = self._pieces("text", [orjson.dumps(text)] if text else [])
        facts = head.facts(done)
        if done.replaced and not head.hides_tokens:
            facts["message"] = done.message
        delta = {"stop_reason": outcome.stop_reason, "stop_sequence": None}
        last = {"delta": delta, "usage": messages_usage(done), "cowork": facts}
        return answer + self._closed() + _frame("message_delta", last) + _frame("message_stop", {})

    def _pieces(self, kind: str, literals: list[bytes]) -> bytes:
        """Pieces of a block of this kind, which is begun where none is open."""
        begun = b""
        block, piece, key = _BLOCKS[kind]
        if self._open != kind:
            begun = self._closed() + self._begun(block)
            self._open = kind
            delta = {"type": piece, key: ""}
            frame = _frame("content_block_delta", {"index": self._index, "delta": delta})
            self._piece = frame.removesuffix(b'""' + _DELTA_END)
            self._next_piece = _DELTA_END + self._piece
        if not literals:
            return begun
        return begun + self._piece + self._next_piece.join(literals) + _DELTA_END

    def _call(self, block: dict[str, Any], given: Any) -> bytes:
        """A block that is a call, whole."""
        closed = self._closed()
        begun = self._begun(block)
        delta = {"type": "input_json_delta", "partial_json": orjson.dumps(given).decode()}
        piece = _frame("content_block_delta", {"index": self._index, "delta": delta})
        return closed + begun + piece + _frame("content_block_stop", {"index": self._index})

    def _begun(self, block: dict[str, Any]) -> bytes:
        self._index += 1
        return _frame("content_block_start", {"index": self._index, "content_block": block})

    def _closed(self) -> bytes:
        """The end of the block that is open, if one is."""
        kind, self._open = self._open, None
        if kind is None:
            return b""
        signed = b""
        if kind == "thinking":
            delta = {"type": "signature_delta", "signature": ""}
            signed = _frame("content_block_delta", {"index": self._index, "delta": delta})
        return signed + _frame("content_block_stop", {"index": self._index})


def _frame(kind: str, said: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **said}))
