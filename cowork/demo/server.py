"""Sockets and threads: a threaded HTTP server that closes whatever it opened."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from typing import Any

from flask import Flask
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

# How long closing may take to be noticed; socketserver looks that often.
_POLL_S = 0.02


class _Handler(WSGIRequestHandler):
    # Chunked replies need HTTP/1.1.
    protocol_version = "HTTP/1.1"
    # An answer is many small packets: Nagle's algorithm would hold each back up to 40 ms.
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: standard output holds the one line with the address."""


class Server(ThreadedWSGIServer):
    """A thread for each connection, and ``close`` ends them all."""

    # Threads are waited for, so that none is left behind.
    daemon_threads = False
    block_on_close = True

    def __init__(self, host: str, port: int, app: Flask) -> None:
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(host, port, app, handler=_Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_POLL_S,), name="demo-model", daemon=True
        )

    @property
    def url(self) -> str:
        """Where the server listens, an IPv6 address in its brackets."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening, cut every connection and wait for every thread."""
        self.shutdown()
        with self._lock:
            for connection in self._open:
                hang_up(connection)
        self._thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)


class ClientLeftError(ConnectionAbortedError):
    """The client went away. The HTTP server takes it for what it is and says nothing."""


def pause(connection: socket.socket, seconds: float) -> None:
    """Wait, but not for a client that is gone.

    After its request a client has nothing more to say, so the first thing to be read from it is
    its leaving; the server's own ``close`` looks the same.

    Raises:
        ClientLeftError: the client left.
    """
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if selector.select(left):
                raise ClientLeftError


def hang_up(connection: socket.socket) -> None:
    """End a connection under the thread that uses it, which then sees its client leave.

    It is done through a second descriptor: gevent's own ``shutdown`` would throw an error into
    the greenlet that waits on the first.
    """
    with contextlib.suppress(OSError), connection.dup() as twin:
        twin.shutdown(socket.SHUT_RDWR)
