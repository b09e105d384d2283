"""Detects a client's disconnect while nothing is being written to it.

The socket of a request that waits is watched for end of file.  That is not yet a disconnect: a
client may have closed its half and still read.  Only a write tells: the second one after the
peer has closed fails.
"""

from __future__ import annotations

import _socket
import os
import socket
import time
from collections.abc import Callable

from flask import Request

from cowork.runtime.fd_watcher import FdWatcher

PROBE_INTERVAL_S = 0.05
# An interim reply, which every HTTP/1.1 client skips: the only thing that can be written to a
# client that waits for its one and only reply.
_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


class Watch:
    """One client's socket; at its end of file `half_closed` turns true and `wake` is called.

    It holds a descriptor of its own: the request's may be closed at any moment, and the event
    loop aborts the process when it is to begin watcher one that is.
    """

    def __init__(self, sock: socket.socket, wake: Callable[[], None], *, probes: bool) -> None:
        self.wake = wake
        self.half_closed = False
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

    def probe_closed(self) -> bool:
        """Whether the client has disconnected, by writing to it; only before the reply begins."""
        if not self._probes:
            return True
        try:
            self._sock.sendall(_INTERIM)
            time.sleep(PROBE_INTERVAL_S)
            self._sock.sendall(_INTERIM)
        except OSError:
            return True
        return False

    def on_readable(self) -> bool:
        """Whether to look again; takes nothing out of the socket and never waits."""
        try:
            self.half_closed = not self._raw.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            self.half_closed = True
        if self.half_closed:
            self.wake()
        # Else there are bytes of a next request: this client is there, and will be noticed by
        # what is written to it.
        return False


class Disconnects:
    """Watches the sockets of all requests that wait, with a watcher that others close."""

    def __init__(self, watcher: FdWatcher) -> None:
        self._watcher = watcher

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
        if not self._watcher.watch(watch):
            watch.close()
            return None
        return watch

    def unwatch(self, watch: Watch) -> None:
        """Leave the client alone from now on; its socket may be closed or used again."""
        self._watcher.unwatch(watch)
