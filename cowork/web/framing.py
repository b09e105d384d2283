"""How the frames of a stream are written: for readers of lines, or for server-sent events.

The founding document's clients split a stream at blank lines or at `data: `, so that nothing but
data may stand in it.  Whoever shows that it knows server-sent events can resume, and gets an id
with each frame.  Numbers count the turn's events from 1.
"""

from __future__ import annotations

import re
from typing import Protocol

from flask import Request

_TOKEN = b'data: {"type": "token", "token": '
_TOKEN_END = b"}\n\n"
_NEXT_TOKEN = _TOKEN_END + _TOKEN
_EVENT_STREAM = re.compile(r"\btext/event-stream\b", re.IGNORECASE)


class Framing(Protocol):
    """`keep_alive` is what fills silence."""

    keep_alive: bytes

    def tokens(self, literals: list[bytes], number: int) -> bytes:
        """The frames of tokens in a row, each as its JSON string; `number` is the first one's."""
        ...

    def frame(self, data: bytes, number: int) -> bytes:
        """Another frame, with this JSON."""
        ...


class PlainFraming:
    """The founding document's bytes: data and blank lines.

    A comment in front of a frame would hide it from readers that split at blank lines.
    """

    keep_alive = b"\n\n"

    def tokens(self, literals: list[bytes], number: int) -> bytes:  # noqa: ARG002
        """The frames of tokens in a row: one join."""
        return _TOKEN + _NEXT_TOKEN.join(literals) + _TOKEN_END

    def frame(self, data: bytes, number: int) -> bytes:  # noqa: ARG002
        """Another frame."""
        return b"data: %b\n\n" % data


class NumberedFraming:
    """Frames with ids, `<turn id>.<n>`, for `Last-Event-ID`.

    The comment that fills silence has no blank line, of which some libraries make an empty message.
    """

    keep_alive = b": keep-alive\n"

    def __init__(self, turn_id: str) -> None:
        self._frame = b"id: %b.%%d\ndata: %%b\n\n" % turn_id.encode()
        self._token_frame = self._frame.replace(b"data: %b\n\n", _TOKEN + b"%b" + _TOKEN_END)

    def tokens(self, literals: list[bytes], number: int) -> bytes:
        """The frames of tokens in a row."""
        return b"".join(map(self._token_frame.__mod__, enumerate(literals, number)))

    def frame(self, data: bytes, number: int) -> bytes:
        """Another frame."""
        return self._frame % (number, data)


PLAIN = PlainFraming()


def knows_event_streams(asked: Request) -> bool:
    """Whether the caller's headers show that it knows server-sent events."""
    headers = asked.headers
    return (
        "Last-Event-ID" in headers
        or "Idempotency-Key" in headers
        or _EVENT_STREAM.search(headers.get("Accept", "")) is not None
    )
