"""Connections that nobody can hold open by dripping, and that can be cut off from outside.

A read timeout alone bounds one `recv`: a server that sends a byte a second, in the headers
already, holds its caller for hours.  Here every read of a reply, from its status line to the end
of its body, also has one common end.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import threading
from time import monotonic
from typing import Any
from weakref import WeakSet

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class Sockets:
    """Every open socket of one client, so that closing it also ends the calls under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: WeakSet[socket.socket] = WeakSet()

    def add(self, sock: socket.socket) -> None:
        with self._lock:
            self._open.add(sock)

    def cut(self) -> None:
        """Shut every socket down; whoever waits for one gets its end at once."""
        with self._lock:
            cut = list(self._open)
        for sock in cut:
            with contextlib.suppress(OSError):  # it was closed, or never quite connected
                sock.shutdown(socket.SHUT_RDWR)


class _Bounded(io.RawIOBase):
    """Reads from `raw`, no read longer than `pace` seconds and none after `end` (monotonic)."""

    def __init__(self, raw: Any, sock: socket.socket, pace: float | None, end: float) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._pace = pace
        self._end = end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError("the reply took too long as a whole")
        self._sock.settimeout(left if self._pace is None else min(self._pace, left))
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


def _pools(total: float, sockets: Sockets) -> dict[str, type[HTTPConnectionPool]]:
    """The pool classes whose replies end after `total` seconds and whose sockets are known."""

    class Reply(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            raw: Any = self.fp.detach()
            bounded = _Bounded(raw, sock, sock.gettimeout(), monotonic() + total)
            self.fp = io.BufferedReader(bounded)

    class Plain(HTTPConnection):
        response_class = Reply

        def connect(self) -> None:
            super().connect()
            sockets.add(self.sock)

    class Encrypted(HTTPSConnection):
        response_class = Reply

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
