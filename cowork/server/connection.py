"""One client's connection: how long it may take to say something, what it is told when it is wrong.

gunicorn bounds a request's head by the time that a kept connection may idle and its body by
nothing, and what it cannot parse it answers in HTML that quotes the client.  Here each wait has
its own bound and each answer the contract's shape.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Protocol

import orjson
from gunicorn.http import errors as faults

from cowork.runtime.ids import new_hex

# A body has this long (s) in all, and after its first silence this many bytes a second at least.
BODY_TIMEOUT = 300.0
BODY_RATE = 8192.0
# A head that is longer than any honest one is read by the parser from its start for each piece
# that comes, so pieces are let pile up for so long (s).
LONG_HEAD = 16 * 1024
LONG_HEAD_PAUSE = 0.05
# All of a head; gunicorn bounds each of its fields, which together could be half a mebibyte.
HEAD_BYTES = 64 * 1024
# Between two pieces of a body; no pause at all gives the others a tenth of their turns.
PAUSE = 0.0001
# What is left of a body that nobody wanted: so much is thrown away before the next request.
DRAIN_TIMEOUT = 1.0
DRAIN_BYTES = 64 * 1024
# A client that is still sending gets so long (s) to read why it was refused.
LINGER = 2.0
SEND_TIMEOUT = 1.0


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Line:
    """What a parser reads from: the client's socket, with a bound on every wait.

    `patience` (s) is what a request's head may take in all, and each silence within its body;
    `idle` (s) is how long a kept connection may wait for its next request.
    """

    def __init__(self, sock: socket.socket, *, patience: float, idle: float) -> None:
        self._sock = sock
        self._patience = patience
        self._idle = idle
        self._first = True
        self._part = "head"
        self._until = self._began = 0.0
        self.heard = 0

    def await_head(self) -> None:
        """A request may come: the first one at once, later ones when the client likes."""
        self._part, self.heard = "head", 0
        self._until = time.monotonic() + (self._patience if self._first else self._idle)

    def await_body(self) -> None:
        """The head is there; its body may follow, and its time begins when it is asked for."""
        self._part, self.heard, self._first = "unread", 0, False

    def await_rest(self) -> None:
        """Nobody wants what is left of the body."""
        self._part, self._until = "rest", time.monotonic() + DRAIN_TIMEOUT

    def recv(self, size: int) -> bytes:
        """What the client sends; raises TimeoutError when it is too slow.

        Raises `LimitRequestHeaders` for a head of more than `HEAD_BYTES`.
        """
        if self._part == "head" and self.heard > HEAD_BYTES:
            raise faults.LimitRequestHeaders("the head is too long")
        if self._part == "unread":
            self._part, self._began = "body", time.monotonic()
        self._let_others()
        left = self._deadline() - time.monotonic()
        if left <= 0:
            raise TimeoutError("the client was too slow")
        self._sock.settimeout(left)
        try:
            data = self._sock.recv(size)
        finally:
            self._sock.settimeout(None)
        if self._part == "head" and not self.heard:
            self._until = time.monotonic() + self._patience
        self.heard += len(data)
        return data

    def _let_others(self) -> None:
        """Make room between two pieces: what comes without end is never waited for otherwise."""
        if self._part == "head" and self.heard > LONG_HEAD:
            time.sleep(LONG_HEAD_PAUSE)
        elif self._part != "head" and self.heard:
            time.sleep(PAUSE)

    def _deadline(self) -> float:
        if self._part != "body":
            return self._until
        fair = self._patience + self.heard / BODY_RATE
        return min(time.monotonic() + self._patience, self._began + min(fair, BODY_TIMEOUT))

    def linger(self) -> None:
        """Say that no more comes, and take what does: else the client would lose our reply."""
        deadline = time.monotonic() + LINGER
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self._sock.settimeout(left)
                if not self._sock.recv(DRAIN_BYTES):
                    break


class Body:
    """A body's reader whose every failure is an OSError: the client's or the line's, never ours."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    def read(self, size: int) -> bytes:
        try:
            return self._reader.read(size)
        except faults.ParseException as fault:
            raise OSError("the body is not framed as HTTP wants it") from fault

    @property
    def is_left(self) -> bool:
        """Whether there may be more of it still than `drained` throws away."""
        length = getattr(self._reader, "length", None)
        if length is not None:
            return bool(length > DRAIN_BYTES)
        return getattr(self._reader, "parser", None) is not None  # chunks, not read to their end


def drained(parser: Any, line: Line) -> bool:
    """Throw away what is left of a body; False where the connection is of no more use."""
    line.await_rest()
    try:
        return bool(parser.finish_body(max_bytes=DRAIN_BYTES))
    except OSError:
        return False


def check_coding(headers: Iterable[tuple[str, str]]) -> None:
    """Raise where a body is coded as nobody here decodes it; what is framed wrongly is refused.

    gunicorn takes `gzip, chunked` and hands the body on as it came.
    """
    for name, value in headers:
        if name == "TRANSFER-ENCODING" and value.strip().lower() != "chunked":
            raise faults.UnsupportedTransferCoding(value)


def refusal(fault: BaseException) -> tuple[HTTPStatus, str, str]:
    """Status, code and sentence for what went wrong before or around the application."""
    found = HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "something of ours broke"
    match fault:
        case TimeoutError():
            found = HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "the request took too long"
        case faults.LimitRequestLine():
            status = HTTPStatus.REQUEST_URI_TOO_LONG
            found = status, "uri_too_long", "the request line is too long"
        case faults.LimitRequestHeaders():
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            found = status, "headers_too_large", "the request's headers are too large"
        case faults.ExpectationFailed():
            sentence = "only 100-continue can be expected"
            found = HTTPStatus.EXPECTATION_FAILED, "expectation_failed", sentence
        case faults.UnsupportedTransferCoding():
            sentence = "a body can be sent as it is or in chunks, in no other transfer coding"
            found = HTTPStatus.NOT_IMPLEMENTED, "not_implemented", sentence
        case faults.ConfigurationProblem():
            pass
        case faults.ParseException():
            found = HTTPStatus.BAD_REQUEST, "bad_request", "the request cannot be understood"
    return found


def refuse(sock: socket.socket, fault: BaseException) -> tuple[int, str]:
    """Answer a client that the application never saw; the status and the request id."""
    status, code, sentence = refusal(fault)
    request_id = new_hex()
    body = orjson.dumps({"detail": {"error": sentence, "code": code}})
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"X-Request-ID: {request_id}\r\n\r\n"
    )
    with suppress(OSError):  # it has gone, or reads nothing
        sock.settimeout(SEND_TIMEOUT)
        sock.sendall(head.encode() + body)
    return status.value, request_id
