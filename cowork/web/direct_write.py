"""Writes a stream's frames to its client's socket from the thread that read the token.

Waking the greenlet that serves a client, for each token that another one has read, takes a fifth
of the token's whole cost.  So whoever has a frame tries a non-blocking send; only what the kernel
does not take at once is left to the reply's own greenlet, which may wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol


class _Socket(Protocol):
    """`cowork.server.client_socket.ClientSocket`."""

    def try_send(self, data: bytes) -> int: ...
    def sendall(self, data: bytes) -> None: ...


class DirectWriter:
    """Writes to the socket of a reply that gunicorn has begun, framed as gunicorn frames it.

    Nobody else may write meanwhile, and nothing may be written while `is_allowed()` is False (the
    caller's key is no longer valid).
    """

    def __init__(
        self, sock: _Socket, *, chunked: bool, is_allowed: Callable[[], bool] = lambda: True
    ) -> None:
        self.is_allowed = is_allowed
        self._sock = sock
        self._chunked = chunked
        self.pending = b""
        # Bytes of frames that were given to it.
        self.written = 0

    def write(self, data: bytes) -> None:
        """Write what the kernel takes at once; the rest is `pending`.  Never blocks or raises."""
        framed = b"%X\r\n%b\r\n" % (len(data), data) if self._chunked else data
        self.written += len(data)
        sent = 0
        with suppress(OSError):  # the buffer is full, or the client disconnected: see `flush`
            sent = self._sock.try_send(framed)
        if sent < len(framed):
            self.pending = framed[sent:]

    def flush(self) -> None:
        """Write what is pending, waiting for the client; raises OSError when it is gone."""
        if self.pending:
            self._sock.sendall(self.pending)
            self.pending = b""


def direct_writer(environ: Mapping[str, Any]) -> DirectWriter | None:
    """A writer to this request's client, for when its reply has begun; None: there can be none.

    Our own gunicorn worker's sockets alone can send without waiting.
    """
    sock: Any = environ.get("gunicorn.socket")
    if not hasattr(sock, "try_send") or environ["REQUEST_METHOD"] == "HEAD":
        return None
    # gunicorn's rule for a reply without a length.
    chunked = environ["SERVER_PROTOCOL"] != "HTTP/1.0"
    is_allowed = environ.get("cowork.key_is_valid", lambda: True)
    return DirectWriter(sock, chunked=chunked, is_allowed=is_allowed)
