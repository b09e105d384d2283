"""Connections that nobody can hold by dripping or flooding, and that can be cut off from outside.

A read timeout alone bounds one `recv`: a server that sends a byte a second, in the headers
already, holds its caller for hours.  Here every read of a reply, from its status line to the end
of its body, also has one common end.

What a body holds is no measure of what its reply costs: interim replies, headers, trailers, chunk
extensions and one-byte chunks without end take a parser's time and add nothing.  So the bytes are
counted as they come off the socket.  And since a read that finds something there never waits,
under gevent nobody else would have a turn while they last: the loop is left now and then.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import threading
import time
from typing import Any
from weakref import WeakSet

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

# Of one reply as it comes off the socket, framing and all; of what stands before its body, which
# is parsed in one go; bytes.
MAX_REPLY_BYTES = 8 * 2**20
MAX_HEAD_BYTES = 256 * 1024
# Every so often while there always is something to read, for so long; seconds.
_WORK_SLICE_S = 0.005
_YIELD_S = 0.001


class Sockets:
    """Every open socket of one client, so that closing it also ends the calls under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: WeakSet[socket.socket] = WeakSet()

    def add(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.add(sock)

    def abort_all(self) -> None:
        """Shut every socket down; whoever waits for one gets its end at once."""
        with self._lock:
            open_now = list(self._open)
        for sock in open_now:
            with contextlib.suppress(OSError):  # it was closed, or never quite connected
                sock.shutdown(socket.SHUT_RDWR)


class DeadlineReader(io.RawIOBase):
    """Reads from `raw`, no read longer than `pace` seconds and none after `end` (monotonic).

    No more than `limit` bytes in all, `MAX_HEAD_BYTES` until somebody says otherwise.
    """

    def __init__(self, raw: Any, sock: socket.socket, pace: float | None, end: float) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._pace = pace
        self._end = end
        self._seen = 0
        self._paused = time.monotonic()
        self.limit = MAX_HEAD_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._yield_to_others()
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the reply took too long as a whole")
        self._sock.settimeout(left if self._pace is None else min(self._pace, left))
        read: int | None = self._raw.readinto(buffer)
        self._seen += read or 0
        if self._seen > self.limit:
            raise OSError("the reply has too many bytes")
        return read

    def _yield_to_others(self) -> None:
        if time.monotonic() - self._paused >= _WORK_SLICE_S:
            time.sleep(_YIELD_S)
            self._paused = time.monotonic()

    def close(self) -> None:
        self._raw.close()
        super().close()


def _pools(total: float, sockets: Sockets) -> dict[str, type[HTTPConnectionPool]]:
    """The pool classes whose replies end after `total` seconds and whose sockets are known."""

    class BoundedResponse(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            raw: Any = self.fp.detach()
            self._reader = DeadlineReader(raw, sock, sock.gettimeout(), time.monotonic() + total)
            self.fp = io.BufferedReader(self._reader)

        def begin(self) -> None:
            """Read as far as the headers; what follows may be longer."""
            super().begin()
            self._reader.limit = MAX_REPLY_BYTES

    class Plain(HTTPConnection):
        response_class = BoundedResponse

        def connect(self) -> None:
            super().connect()
            sockets.add(self.sock)

    class Encrypted(HTTPSConnection):
        response_class = BoundedResponse

        def connect(self) -> None:
            super().connect()
            sockets.add(self.sock)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


class Adapter(HTTPAdapter):
    """`requests`' own adapter over those connections: `size` of them are kept, none is retried."""

    def __init__(self, *, total: float, size: int, sockets: Sockets) -> None:
        self._pool_classes = _pools(total, sockets)
        super().__init__(pool_connections=1, pool_maxsize=size, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pool_classes
