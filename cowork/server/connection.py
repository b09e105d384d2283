"""One client connection: read timeouts for head, body and idling, and a lingering close.

gunicorn bounds a request's head by the keep-alive time and its body by nothing.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Protocol

from gunicorn.http import errors as faults

# A body's timeout in all, and the rate it must keep after its first silence.
BODY_TIMEOUT_S = 300.0
MIN_BODY_BYTES_PER_S = 8192.0
# The parser reads a head from its start for each piece that comes; those of a head that is longer
# than any honest one are let pile up for this long.
LONG_HEAD_BYTES = 16 * 1024
LONG_HEAD_PAUSE_S = 0.05
# All of a head; gunicorn bounds each of its fields, which together could be half a mebibyte.
MAX_HEAD_BYTES = 64 * 1024
# Between two pieces of a body; no pause at all gives the others a tenth of their turns.
READ_PAUSE_S = 0.0001
# What is left of a body that nobody read is thrown away before the next request, up to this.
DISCARD_TIMEOUT_S = 1.0
MAX_DISCARD_BYTES = 64 * 1024
# A client that is still sending has this long to read why it was refused.
LINGER_TIMEOUT_S = 2.0


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


class ClientConnection:
    """What a parser reads from: the client's socket, with a bound on every wait.

    `timeout` (s) bounds a request's head as a whole, and each silence within its body;
    `idle` (s) is how long a kept connection may wait for its next request.  `bytes_read` counts
    those of the request's head, then those of its body.
    """

    def __init__(self, sock: socket.socket, *, timeout: float, idle: float) -> None:
        self._sock = sock
        self._timeout = timeout
        self._idle = idle
        self._first = True
        self._phase = "head"
        self._fixed_deadline = self._body_began = 0.0
        self.bytes_read = 0

    def expect_head(self) -> None:
        """A request may come: the first one at once, later ones when the client likes."""
        self._phase, self.bytes_read = "head", 0
        self._fixed_deadline = time.monotonic() + (self._timeout if self._first else self._idle)

    def expect_body(self) -> None:
        """The head is there; its body may follow, and its time begins when it is asked for."""
        self._phase, self.bytes_read, self._first = "body expected", 0, False

    def expect_discarded(self) -> None:
        """What is left of the body is not wanted."""
        self._phase, self._fixed_deadline = "discarded", time.monotonic() + DISCARD_TIMEOUT_S

    def recv(self, size: int) -> bytes:
        """Read up to `size` bytes; raises TimeoutError when the client is too slow.

        Raises `LimitRequestHeaders` for a head of more than `MAX_HEAD_BYTES`.
        """
        if self._phase == "head" and self.bytes_read > MAX_HEAD_BYTES:
            raise faults.LimitRequestHeaders("the head is too long")
        if self._phase == "body expected":
            self._phase, self._body_began = "body", time.monotonic()
        self._yield_to_others()
        left = self._deadline() - time.monotonic()
        if left <= 0:
            raise TimeoutError("client timeout")
        self._sock.settimeout(left)
        try:
            data = self._sock.recv(size)
        finally:
            self._sock.settimeout(None)
        if self._phase == "head" and not self.bytes_read:
            self._fixed_deadline = time.monotonic() + self._timeout
        self.bytes_read += len(data)
        return data

    def _yield_to_others(self) -> None:
        """Make room between two pieces: what comes without end is never waited for otherwise."""
        if self._phase == "head" and self.bytes_read > LONG_HEAD_BYTES:
            time.sleep(LONG_HEAD_PAUSE_S)
        elif self._phase != "head" and self.bytes_read:
            time.sleep(READ_PAUSE_S)

    def _deadline(self) -> float:
        if self._phase != "body":
            return self._fixed_deadline
        fair = self._timeout + self.bytes_read / MIN_BODY_BYTES_PER_S
        return min(time.monotonic() + self._timeout, self._body_began + min(fair, BODY_TIMEOUT_S))

    def end_idle(self) -> None:
        """Have the wait for the next request end; one that has arrived already is read."""
        if self._phase == "head" and not self.bytes_read:
            with suppress(OSError):  # the client has gone
                self._sock.shutdown(socket.SHUT_RD)

    def linger(self) -> None:
        """Lingering close: half-close, then read and discard.

        Unread input would reset the connection before the client has read our reply.
        """
        deadline = time.monotonic() + LINGER_TIMEOUT_S
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self._sock.settimeout(left)
                if not self._sock.recv(MAX_DISCARD_BYTES):
                    break


class BodyReader:
    """A body's reader whose every failure is an OSError: the client's, never ours."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    def read(self, size: int) -> bytes:
        try:
            return self._reader.read(size)
        except faults.ParseException as fault:
            raise OSError("the body is not framed as HTTP wants it") from fault

    @property
    def is_left(self) -> bool:
        """Whether there may be more of it still than `discard_body` throws away."""
        length = getattr(self._reader, "length", None)
        if length is not None:
            return bool(length > MAX_DISCARD_BYTES)
        return getattr(self._reader, "parser", None) is not None  # chunks, not read to their end


def discard_body(parser: Any, connection: ClientConnection) -> bool:
    """Throw away what is left of a body; False where the connection is of no more use."""
    connection.expect_discarded()
    try:
        return bool(parser.finish_body(max_bytes=MAX_DISCARD_BYTES))
    except OSError:
        return False


def check_transfer_coding(headers: Iterable[tuple[str, str]]) -> None:
    """Raise where a body is coded as nobody here decodes it; what is framed wrongly is refused.

    gunicorn takes `gzip, chunked` and hands the body on as it came.
    """
    for name, value in headers:
        if name == "TRANSFER-ENCODING" and value.strip().lower() != "chunked":
            raise faults.UnsupportedTransferCoding(value)
