"""The log of one turn: events by number, in bounded memory.

Tokens are most of it and small, so they are kept as bytes in one buffer, not as objects; what
grows past `MEMORY` goes to a temporary file that has no name and vanishes with the process.
"""

from __future__ import annotations

import re
import tempfile
from array import array
from typing import IO, Any

import orjson

from cowork.events import (
    Done,
    Event,
    Failed,
    Replace,
    Status,
    Thinking,
    Token,
    ToolResult,
    ToolUse,
)
from cowork.log import logger

log = logger(__name__)

MEMORY = 1 << 20
BATCH = 1 << 18
# The place in this table is the event's mark in the log; 0 is a token's.
_KINDS: tuple[type, ...] = (Token, Replace, Thinking, ToolUse, ToolResult, Status, Failed, Done)
_MARKS = {kind: mark for mark, kind in enumerate(_KINDS)}


class TurnLog:
    """Append events, read them again by number (from 1).  Not thread-safe: the turn's lock is."""

    def __init__(self) -> None:
        self._marks = bytearray()
        self._ends = array("Q")
        self._tail = bytearray()
        self._tail_from = 0
        self._file: IO[bytes] | None = None
        self._spills = True

    def __len__(self) -> int:
        return len(self._marks)

    @property
    def size(self) -> int:
        """How many bytes the log's events take."""
        return self._tail_from + len(self._tail)

    def append(self, event: Event) -> None:
        mark = _MARKS[type(event)]
        self._tail += event.text.encode(errors="replace") if mark == 0 else _dump(event)  # type: ignore[union-attr]
        self._marks.append(mark)
        self._ends.append(self._tail_from + len(self._tail))
        if len(self._tail) > MEMORY and self._spills:
            self._spill()

    def read(self, after: int) -> list[Event]:
        """The events behind number `after`: all, or as many as fit into one batch."""
        count = len(self._marks)
        if after >= count:
            return []
        begin = self._ends[after - 1] if after else 0
        last = after + 1
        while last < count and self._ends[last] - begin <= BATCH:
            last += 1
        data = self._bytes(begin, self._ends[last - 1])
        events: list[Event] = []
        place = 0
        for index in range(after, last):
            end = self._ends[index] - begin
            events.append(_load(self._marks[index], data[place:end]))
            place = end
        return events

    def text(self) -> str:
        """The tokens behind the last `Replace`, joined: without making an event of each."""
        begin, parts = 0, []
        replaced = self._marks.rfind(_MARKS[Replace])
        if replaced >= 0:
            (event,) = self.read(replaced)[:1]
            begin, parts = replaced + 1, [event.text if isinstance(event, Replace) else ""]
        for run in re.finditer(b"\x00+", self._marks[begin:]):
            first, last = begin + run.start(), begin + run.end()
            parts.append(
                self._bytes(self._ends[first - 1] if first else 0, self._ends[last - 1]).decode()
            )
        return "".join(parts)

    def close(self) -> None:
        """Give the file back; the log cannot be read any more."""
        if self._file is not None:
            self._file.close()

    def _spill(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="cowork-turn-")  # noqa: SIM115 - close()
            self._file.seek(self._tail_from)
            self._file.write(self._tail)
            self._file.flush()
        except OSError as fault:
            # The disk is full, or there are no more files: the rest stays in memory, within the
            # limit that every turn has.
            self._spills = False
            log.error("a turn's log cannot be spilled to a file", error=str(fault))
            return
        self._tail_from += len(self._tail)
        self._tail = bytearray()

    def _bytes(self, begin: int, end: int) -> bytes:
        if begin >= self._tail_from:
            return bytes(self._tail[begin - self._tail_from : end - self._tail_from])
        assert self._file is not None  # noqa: S101 - what is not in the tail was spilled
        self._file.seek(begin)
        data = self._file.read(min(end, self._tail_from) - begin)
        return data + bytes(self._tail[: max(0, end - self._tail_from)])


def _dump(event: Any) -> bytes:
    return orjson.dumps(event, option=orjson.OPT_NON_STR_KEYS, default=str)


def _load(mark: int, data: bytes) -> Event:
    if mark == 0:
        return Token(data.decode())
    event: Event = _KINDS[mark](**orjson.loads(data))
    return event
