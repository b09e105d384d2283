"""Notices that a client has gone while nothing is being written to it.

The socket of a request that waits is watched for its end.  An end is not yet a disconnect: a
client may have closed its half and still read.  Only a write tells: the second one after the
peer has closed fails.
"""

from __future__ import annotations

import _socket
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from flask import Request

PROBE_GAP = 0.05
# An interim reply, which every HTTP/1.1 client skips: the only thing that can be written to a
# client that waits for its one and only reply.
_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


class Watch:
    """One client's socket; `ended` turns true, and `wake` is called, when its half is closed.

    It holds a descriptor of its own: the request's may be closed at any moment, and the event
    loop aborts the process when it is to begin watching one that is.
    """

    def __init__(self, sock: socket.socket, wake: Callable[[], None], *, probes: bool) -> None:
        self.wake = wake
        self.ended = False
        self._sock = sock
        self._probes = probes
        # The interpreter's own socket: gevent's would wait where there is nothing to read, and
        # its owner, who reads the next request, would then be refused.
        self._raw = _socket.socket(fileno=os.dup(sock.fileno()))

    def fileno(self) -> int:
        """The descriptor to select on."""
        return self._raw.fileno()

    def close(self) -> None:
        """Give the descriptor back; nobody may select on it any more."""
        self._raw.close()

    def gone(self) -> bool:
        """Whether nobody reads any more, found out by writing; only before the reply begins."""
        if not self._probes:
            return True
        try:
            self._sock.sendall(_INTERIM)
            time.sleep(PROBE_GAP)
            self._sock.sendall(_INTERIM)
        except OSError:
            return True
        return False

    def look(self) -> bool:
        """Whether the socket has ended; takes nothing out of it and never waits."""
        try:
            self.ended = not self._raw.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            self.ended = True
        return self.ended


class Disconnects:
    """Watches the sockets of all requests that wait, with one thread for all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._changes: deque[tuple[bool, Watch]] = deque()
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)
        self._closed = False

    def watch(self, request: Request, wake: Callable[[], None]) -> Watch | None:
        """Watch the client of this request, until `unwatch`; None where its socket is unknown."""
        environ = request.environ
        sock = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
        if not isinstance(sock, socket.socket):
            return None
        probes = environ.get("SERVER_PROTOCOL") == "HTTP/1.1"
        try:
            watch = Watch(sock, wake, probes=probes)
        except OSError:  # closed already, or no descriptor is left: what is written will tell
            return None
        if not self._change(True, watch):
            watch.close()
            return None
        return watch

    def unwatch(self, watch: Watch) -> None:
        """Leave the client alone from now on; its socket may be closed or used again."""
        self._change(False, watch)

    def _change(self, begins: bool, watch: Watch) -> bool:
        """Have the thread do it; False when it has ended, and every watch with it."""
        with self._lock:
            if self._closed:
                return False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="disconnects", daemon=True)
                self._thread.start()
            self._changes.append((begins, watch))
            self._ring()
            return True

    def _ring(self) -> None:
        with suppress(BlockingIOError):  # it rings already
            self._bell.send(b"!")

    def _run(self) -> None:
        # Only this thread touches the selector: gevent's does not notice others' changes.
        with selectors.DefaultSelector() as selector:
            selector.register(self._ear, selectors.EVENT_READ)
            while not self._closed:
                for key, _ in selector.select(60.0):
                    if key.data is None:
                        with suppress(BlockingIOError):
                            self._ear.recv(4096)
                    elif not key.data.look():
                        # Bytes of a next request: this client is there, and will be noticed by
                        # what is written to it.
                        selector.unregister(key.data)
                    else:
                        selector.unregister(key.data)
                        key.data.wake()
                self._apply(selector)
            self._apply(selector)
            for key in [*selector.get_map().values()]:
                if key.data is not None:
                    self._end(selector, key.data)

    def _apply(self, selector: selectors.BaseSelector) -> None:
        while self._changes:
            begins, watch = self._changes.popleft()
            if begins:
                selector.register(watch, selectors.EVENT_READ, watch)
            else:
                self._end(selector, watch)

    @staticmethod
    def _end(selector: selectors.BaseSelector, watch: Watch) -> None:
        with suppress(KeyError, ValueError):  # it has ended before, and is not watched any more
            selector.unregister(watch)
        watch.close()

    def close(self) -> None:
        """End the thread."""
        with self._lock:
            self._closed = True
        self._ring()
        if self._thread is not None:
            self._thread.join(2.0)
        self._ear.close()
        self._bell.close()
