"""A turn's events as the stream of a response.

Each event has the number of its place in the stream, whenever that is rendered: a client that has
read some of it is told the rest.
"""

from __future__ import annotations

from typing import Any

import orjson

from cowork.dialects.answer_head import answer_text
from cowork.dialects.responses.reply import (
    ResponseHead,
    call_item,
    calls_tool,
    ended_response,
    message_item,
    response,
    text_part,
)
from cowork.events import Done, Event, Failed

_ENDS = {"completed": "response.completed", "incomplete": "response.incomplete"}


class ResponseRenderer:
    """Renders one turn for one reader, who has read the events up to number `after`; -1 is none."""

    keep_alive = b": keep-alive\n"

    def __init__(self, head: ResponseHead, after: int = -1) -> None:
        self._head = head
        self._after = after
        self._number = 0
        self._is_open = False
        self._failure: Failed | None = None
        where = {"item_id": head.item_id, "output_index": 0, "content_index": 0}
        self._place: dict[str, Any] = where
        # A token's event, without its number and its text.
        rest = orjson.dumps({**where, "logprobs": []})[1:]
        self._token = (
            b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
            b'"sequence_number":%%d,"delta":%%b,%b\n\n' % rest
        )

    def begin(self) -> bytes:
        """`response.created` and `response.in_progress`."""
        begun = {"response": response(self._head, "in_progress")}
        return self._frame("response.created", begun) + self._frame("response.in_progress", begun)

    def tokens(self, literals: list[bytes], number: int) -> bytes:  # noqa: ARG002
        """A `delta` for each token."""
        if self._head.hides_tokens:
            return b""
        return self._opened() + self._deltas(literals)

    def event(self, event: Event, number: int) -> bytes:  # noqa: ARG002
        """The frames of another event: of its end alone."""
        if isinstance(event, Failed):  # its end says whether it is a refusal, which is an answer
            self._failure = event
        if isinstance(event, Done):
            return self._end(event)
        return b""

    def _end(self, done: Done) -> bytes:
        whole = ended_response(self._head, done, self._failure)
        name = _ENDS.get(whole["status"])
        if name is None:
            return self._frame("response.failed", {"response": whole})
        answer = self._call(done) if calls_tool(self._head, done) else self._text(done)
        return answer + self._frame(name, {"response": whole})

    def _opened(self) -> bytes:
        """The message begins, unless it has."""
        if self._is_open:
            return b""
        self._is_open = True
        item = message_item(self._head, "in_progress", [])
        begun = self._frame("response.output_item.added", {"output_index": 0, "item": item})
        part = {**self._place, "part": text_part("")}
        return begun + self._frame("response.content_part.added", part)

    def _deltas(self, literals: list[bytes]) -> bytes:
        first = self._number
        self._number += len(literals)
        if first <= self._after:
            read = self._after + 1 - first
            first, literals = first + read, literals[read:]
        return b"".join(map(self._token.__mod__, enumerate(literals, first)))

    def _text(self, done: Done) -> bytes:
        """The end of the message; of one that is a value, all of it."""
        text = answer_text(done)
        found = self._opened()
        if self._head.hides_tokens and text:
            found += self._deltas([orjson.dumps(text)])
        part = text_part(text)
        item = message_item(self._head, "completed", [part])
        ended = {**self._place, "text": text, "logprobs": []}
        found += self._frame("response.output_text.done", ended)
        found += self._frame("response.content_part.done", {**self._place, "part": part})
        return found + self._frame("response.output_item.done", {"output_index": 0, "item": item})

    def _call(self, done: Done) -> bytes:
        """The call of the tool that was forced."""
        arguments = orjson.dumps(done.structured_output).decode()
        begun = call_item(self._head, "in_progress", "")
        place = {"item_id": begun["id"], "output_index": 0}
        found = self._frame("response.output_item.added", {"output_index": 0, "item": begun})
        kind = "response.function_call_arguments"
        found += self._frame(f"{kind}.delta", {**place, "delta": arguments})
        ended = {**place, "name": self._head.tool, "arguments": arguments}
        found += self._frame(f"{kind}.done", ended)
        item = call_item(self._head, "completed", arguments)
        return found + self._frame("response.output_item.done", {"output_index": 0, "item": item})

    def _frame(self, kind: str, said: dict[str, Any]) -> bytes:
        number = self._number
        self._number += 1
        if number <= self._after:
            return b""
        data = orjson.dumps({"type": kind, "sequence_number": number, **said})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
