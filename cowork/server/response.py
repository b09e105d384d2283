"""gunicorn's response, made cheaper: head and body in one write, one date a second."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from gunicorn import util
from gunicorn.http import wsgi

from cowork.runtime.quota import SMALL_BODY_BYTES


class BufferedResponse(wsgi.Response):  # type: ignore[misc] # gunicorn has no types
    """gunicorn's response, whose head goes out with the beginning of its body.

    Two small writes cost the kernel, and wake the client, twice.
    """

    sock: Any

    def write(self, arg: bytes) -> None:
        """Write a piece of the body, behind the head where that is still to be written."""
        if self.headers_sent or len(arg) > SMALL_BODY_BYTES:
            super().write(arg)
            return
        sock, self.sock = self.sock, _WriteBuffer()
        try:
            super().write(arg)
            gathered = b"".join(self.sock.parts)
        finally:
            self.sock = sock
        sock.sendall(gathered)


class _WriteBuffer:
    """In a socket's place, what was to be written to it."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.parts.append(data)


@lru_cache(maxsize=1)
def _date_at(second: int) -> str:
    return formatdate(second, usegmt=True)


def http_date() -> str:
    """The date of a reply's head, which is made once a second instead of for each."""
    return _date_at(int(time.time()))


def install() -> None:
    """Have gunicorn use these, in this process."""
    wsgi.Response, util.http_date = BufferedResponse, http_date
    # All requests' errors go to one place; it was found again, under a lock, for each.
    wsgi.WSGIErrorsWrapper = lru_cache(maxsize=1)(wsgi.WSGIErrorsWrapper)
