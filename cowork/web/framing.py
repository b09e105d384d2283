"""How the frames of a stream are written: for readers of lines, or for server-sent events.

The founding document's clients split a stream at blank lines or at `data: `, so that nothing but
data may stand in it.  Whoever shows that it knows server-sent events can resume, and gets an id
with each frame.  Numbers count the turn's events from 1.
"""

from __future__ import annotations

import re
from typing import Protocol

from flask import Request

from cowork.events import Event
from cowork.turns.turn import Turn
from cowork.web.frames import frame_data, turn_frame_data

_TOKEN = b'data: {"type": "token", "token": '
_TOKEN_END = b"}\n\n"
_NEXT_TOKEN = _TOKEN_END + _TOKEN
_EVENT_STREAM = re.compile(r"\btext/event-stream\b", re.IGNORECASE)


class Framing(Protocol):
    """One reader's rendering of one turn; `keep_alive` is what fills silence.

    A dialect's `Renderer` is one.
    """

    keep_alive: bytes

    def begin(self) -> bytes:
        """What there is to say before the events; asked once, before the first is rendered."""
        ...

    def tokens(self, literals: list[bytes], number: int) -> bytes:
        """The frames of tokens in a row, each as its JSON string; `number` is the first one's."""
        ...

    def event(self, event: Event, number: int) -> bytes:
        """The frames of another event; empty for one that this client gets none of."""
        ...


class PlainFraming:
    """The founding document's bytes: data and blank lines.

    A comment in front of a frame would hide it from readers that split at blank lines.  `wanted`
    are the kinds besides tokens that the client asked for: `tool`, `thinking`, `status`.
    """

    keep_alive = b"\n\n"

    def __init__(self, turn: Turn, wanted: frozenset[str]) -> None:
        self._turn = turn
        self._wanted = wanted

    def begin(self) -> bytes:
        """How the turn stands, for who asked for its status."""
        return b"data: %b\n\n" % turn_frame_data(self._turn) if "status" in self._wanted else b""

    def tokens(self, literals: list[bytes], number: int) -> bytes:  # noqa: ARG002
        """The frames of tokens in a row: one join."""
        return _TOKEN + _NEXT_TOKEN.join(literals) + _TOKEN_END

    def event(self, event: Event, number: int) -> bytes:  # noqa: ARG002
        """Another event's frame."""
        data = frame_data(event, self._wanted, self._turn.id)
        return b"" if data is None else b"data: %b\n\n" % data


class NumberedFraming:
    """Frames with ids, `<turn id>.<n>`, for `Last-Event-ID`; `after` is where the reader begins.

    The comment that fills silence has no blank line, of which some libraries make an empty message.
    """

    keep_alive = b": keep-alive\n"

    def __init__(self, turn: Turn, wanted: frozenset[str], after: int = 0) -> None:
        self._turn = turn
        self._wanted = wanted
        self._after = after
        self._frame = b"id: %b.%%d\ndata: %%b\n\n" % turn.id.encode()
        self._token_frame = self._frame.replace(b"data: %b\n\n", _TOKEN + b"%b" + _TOKEN_END)

    def begin(self) -> bytes:
        """How the turn stands, for who asked for its status."""
        if "status" not in self._wanted:
            return b""
        return self._frame % (self._after, turn_frame_data(self._turn))

    def tokens(self, literals: list[bytes], number: int) -> bytes:
        """The frames of tokens in a row."""
        return b"".join(map(self._token_frame.__mod__, enumerate(literals, number)))

    def event(self, event: Event, number: int) -> bytes:
        """Another event's frame."""
        data = frame_data(event, self._wanted, self._turn.id)
        return b"" if data is None else self._frame % (number, data)


def knows_event_streams(asked: Request) -> bool:
    """Whether the caller's headers show that it knows server-sent events."""
    headers = asked.headers
    return (
        "Last-Event-ID" in headers
        or "Idempotency-Key" in headers
        or _EVENT_STREAM.search(headers.get("Accept", "")) is not None
    )
