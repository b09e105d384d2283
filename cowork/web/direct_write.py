"""The short way of a stream's frames to its client: no waking the greenlet that serves it.

Waking the greenlet that serves a client, for each token that another one has read, takes a fifth
of the token's whole cost.  So whoever has a frame offers it to the client's socket; only what the
kernel does not take at once is left to the reply's own greenlet, which may wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol


class _Socket(Protocol):
    """`cowork.server.client_socket.ClientSocket`."""

    def try_send(self, data: bytes) -> int: ...
    def sendall(self, data: bytes) -> None: ...


class Shortcut:
    """Writes to the socket of a reply that gunicorn has begun, framed as gunicorn frames it.

    Nobody else may write meanwhile.  While the caller is not `allowed` to read on, nothing may be
    offered.
    """

    def __init__(
        self, sock: _Socket, *, chunked: bool, allowed: Callable[[], bool] = lambda: True
    ) -> None:
        self.allowed = allowed
        self._sock = sock
        self._chunked = chunked
        self.unsent = b""

    def offer(self, data: bytes) -> None:
        """Write what the kernel takes; never waits or raises, and the rest is `unsent`."""
        framed = b"%X\r\n%b\r\n" % (len(data), data) if self._chunked else data
        sent = 0
        with suppress(OSError):  # full, or gone: `flush` finds out
            sent = self._sock.try_send(framed)
        if sent < len(framed):
            self.unsent = framed[sent:]

    def flush(self) -> None:
        """Write what is left, waiting for the client; raises OSError when it is gone."""
        if self.unsent:
            self._sock.sendall(self.unsent)
            self.unsent = b""


def shortcut(environ: Mapping[str, Any]) -> Shortcut | None:
    """The short way for this request, to be taken once its reply has begun; None: there is none.

    Our own gunicorn worker's sockets alone know how to send without waiting.
    """
    sock: Any = environ.get("gunicorn.socket")
    if not hasattr(sock, "try_send") or environ["REQUEST_METHOD"] == "HEAD":
        return None
    # gunicorn's rule for a reply without a length.
    chunked = environ["SERVER_PROTOCOL"] != "HTTP/1.0"
    return Shortcut(sock, chunked=chunked, allowed=environ.get("cowork.allowed", lambda: True))
