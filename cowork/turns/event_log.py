"""The log of one turn: events by number, in bounded memory.

An event is kept as one line of JSON, a token as its JSON string alone, in one buffer: the CLI
writes tokens as JSON and clients read them as JSON, so on the way nothing is made of them.  What
grows past `SPILL_BYTES` goes to a temporary file that has no name and vanishes with the process.
"""

from __future__ import annotations

import re
import tempfile
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import accumulate
from typing import IO, Any, overload

import orjson

from cowork.events import (
    ApprovalRequested,
    ApprovalResolved,
    Done,
    Emitted,
    Event,
    Failed,
    Replace,
    RequestUsage,
    Status,
    Subagent,
    Thinking,
    Todo,
    Token,
    TokenBatch,
    ToolResult,
    ToolUse,
)
from cowork.log import logger

log = logger(__name__)

SPILL_BYTES = 1 << 20
# What is read in one go: little enough to be written without holding up other readers.
BATCH_BYTES = 1 << 18
BATCH_EVENT_LIMIT = 2048
# Of a value that is too deep for JSON as it is; levels.
_MAX_DEPTH = 100
_INT_LIMIT = 2**63
# What an end is wrapped in elsewhere: a turn's record, a reply; levels.
_ENVELOPE_DEPTH = 4
# The place in this table is the event's mark in the log, and in a store; 0 is a token's.
_EVENT_TYPES: tuple[type, ...] = (
    Token,
    Replace,
    Thinking,
    ToolUse,
    ToolResult,
    Status,
    Failed,
    Done,
    # Behind those of earlier versions, whose logs are in the stores.
    RequestUsage,
    Subagent,
    Todo,
    ApprovalRequested,
    ApprovalResolved,
)
_TYPE_CODES = {kind: code for code, kind in enumerate(_EVENT_TYPES)}
_RUNS = re.compile(rb"\x00+|[^\x00]")


class Batch(Sequence[Event]):
    """Events in a row.  Each is made when it is looked at; `runs` spares that for the tokens."""

    __slots__ = ("_codes", "_lines")

    def __init__(self, codes: bytes, lines: list[bytes]) -> None:
        self._codes = codes
        self._lines = lines

    @classmethod
    def of_token_batch(cls, tokens: TokenBatch) -> Batch:
        """These tokens alone."""
        return cls(b"\x00" * len(tokens.literals), tokens.literals)

    def __len__(self) -> int:
        return len(self._codes)

    def raw(self) -> tuple[bytes, bytes]:
        """The same for `EventLog.append_raw`: a mark for each event, and its line."""
        return self._codes, b"\n".join(self._lines)

    @overload
    def __getitem__(self, place: int) -> Event: ...
    @overload
    def __getitem__(self, place: slice) -> list[Event]: ...
    def __getitem__(self, place: int | slice) -> Event | list[Event]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        return _decode(self._codes[place], self._lines[place])

    def runs(self) -> Iterator[list[bytes] | Event]:
        """All events in order: the JSON strings of tokens in a row, or another event alone."""
        if self._codes and not self._codes.strip(b"\x00"):
            yield self._lines
            return
        for run in _RUNS.finditer(self._codes):
            first = run.start()
            yield self._lines[first : run.end()] if self._codes[first] == 0 else self[first]


EMPTY = Batch(b"", [])


class EventLog:
    """Append events, read them again by number (from 1).  Not thread-safe: the turn's lock is."""

    def __init__(self) -> None:
        self._codes = bytearray()
        self._ends = array("Q")
        self._tail = bytearray()
        self._tail_from = 0
        self._file: IO[bytes] | None = None
        self._may_spill = True

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def size(self) -> int:
        """How many bytes the log's events take."""
        return self._tail_from + len(self._tail)

    def append(self, event: Emitted) -> None:
        if isinstance(event, TokenBatch):
            self._append(b"\x00" * len(event.literals), event.literals)
        else:
            self._append(bytes((_TYPE_CODES[type(event)],)), [_encode(event)])

    def append_raw(self, codes: bytes, lines: bytes) -> None:
        """Add what `Batch.raw` gave; raises ValueError for what is none."""
        self._append_checked(codes, lines.split(b"\n") if codes else [])

    def _append_checked(self, codes: bytes, lines: list[bytes]) -> None:
        if len(codes) != len(lines) or max(codes, default=0) >= len(_EVENT_TYPES):
            raise ValueError("not the log of a turn")
        self._append(codes, lines)

    def _append(self, codes: bytes, lines: list[bytes]) -> None:
        ends = accumulate([len(line) + 1 for line in lines], initial=self.size)
        next(ends)
        self._ends.extend(ends)
        self._codes += codes
        self._tail += b"\n".join((*lines, b""))
        if len(self._tail) > SPILL_BYTES and self._may_spill:
            self._spill()

    def read(self, after: int) -> Batch:
        """The events behind number `after`: all, or as many as fit into one batch."""
        count = len(self._codes)
        if after >= count:
            return EMPTY
        begin = self._ends[after - 1] if after else 0
        most = min(count, after + BATCH_EVENT_LIMIT)
        last = bisect_right(self._ends, begin + BATCH_BYTES, after + 1, most)
        lines = self._bytes(begin, self._ends[last - 1]).split(b"\n")
        del lines[-1]
        return Batch(bytes(self._codes[after:last]), lines)

    def text(self, *, with_replaced: bool = False) -> str:
        """The tokens behind the last `Replace`, joined: without making an event of each.

        Or all of them, `with_replaced`.
        """
        begin, parts = 0, []
        replaced = self._codes.rfind(_TYPE_CODES[Replace])
        if replaced >= 0 and not with_replaced:
            event = self.read(replaced)[0]
            begin, parts = replaced + 1, [event.text if isinstance(event, Replace) else ""]
        for run in re.finditer(b"\x00+", self._codes[begin:]):
            first, last = begin + run.start(), begin + run.end()
            lines = self._bytes(self._ends[first - 1] if first else 0, self._ends[last - 1] - 1)
            parts += orjson.loads(b"[%b]" % lines.replace(b"\n", b","))
        return "".join(parts)

    def events_of(self, kind: type[Event]) -> Iterator[tuple[int, Event]]:
        """The events of one kind, each with its number."""
        code = bytes((_TYPE_CODES[kind],))
        at = self._codes.find(code)
        while at >= 0:
            begin = self._ends[at - 1] if at else 0
            yield at + 1, _decode(code[0], self._bytes(begin, self._ends[at] - 1))
            at = self._codes.find(code, at + 1)

    def dump(self) -> Iterator[bytes]:
        """The log as it is now, in pieces of `BATCH_BYTES` at most: for `load`."""
        size = self.size
        yield len(self._codes).to_bytes(8, "big") + self._codes
        for begin in range(0, size, BATCH_BYTES):
            yield self._bytes(begin, min(begin + BATCH_BYTES, size))

    @classmethod
    def load(cls, data: bytes) -> EventLog:
        """The log that was dumped; raises ValueError for what is none."""
        count = int.from_bytes(data[:8], "big") if len(data) >= 8 else -1  # noqa: PLR2004
        codes, lines = data[8 : 8 + count], data[8 + count :].split(b"\n")
        if len(codes) != count:
            raise ValueError("not the log of a turn")
        log = cls()
        log._append_checked(codes, lines[:-1])
        return log

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
            self._may_spill = False
            log.error("could not write an event log to a temporary file", error=str(fault))
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


def _encode(event: Event) -> bytes:
    if isinstance(event, Token):
        try:
            return orjson.dumps(event.text)
        except orjson.JSONEncodeError:  # a lone surrogate, which no encoding has
            return orjson.dumps(event.text.encode(errors="replace").decode())
    try:
        return orjson.dumps(event, option=orjson.OPT_NON_STR_KEYS, default=str)
    except orjson.JSONEncodeError:
        return orjson.dumps(_jsonable(_fields_of(event)))


def _fields_of(event: Event) -> dict[str, Any]:
    return {field.name: getattr(event, field.name) for field in fields(event)}  # type: ignore[arg-type]


def _jsonable(value: Any, levels: int = _MAX_DEPTH) -> Any:
    """A value that no JSON can hold, as one that it can: what is too deep or too odd is text."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, Mapping):
        if levels:
            return {_jsonable(str(key)): _jsonable(each, levels - 1) for key, each in value.items()}
        return "{...}"
    if isinstance(value, list | tuple):
        return [_jsonable(each, levels - 1) for each in value] if levels else "[...]"
    if value is None or isinstance(value, bool | float):
        return value
    return value if isinstance(value, int) and abs(value) < _INT_LIMIT else _jsonable(str(value))


def is_serializable(done: Done) -> bool:
    """Whether the log, the stores and every reply can hold the values of this end.

    JSON has no bound on how deep a value is, but whoever writes it has one; the CLI's values alone
    can be deep.
    """
    told = (
        done.usage,
        done.structured_output,
        done.usage_by_model,
        *[each["input"] for each in done.permission_denials or ()],
    )
    inside: Any = [each for each in told if each is not None]
    for _ in range(_ENVELOPE_DEPTH if inside else 0):
        inside = [inside]
    try:
        orjson.dumps(inside)
    except orjson.JSONEncodeError:
        return False
    return True


def _decode(code: int, line: bytes) -> Event:
    if code == 0:
        return Token(orjson.loads(line))
    fields: dict[str, Any] = orjson.loads(line)
    event: Event = _EVENT_TYPES[code](**fields)
    return event
