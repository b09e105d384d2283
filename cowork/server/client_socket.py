"""A client's socket under gevent: small writes without waiting, large ones bounded in time."""

from __future__ import annotations

import socket
import time

import gevent.socket

from cowork.errors import AtCapacity
from cowork.model import NO_OWNER
from cowork.runtime.quota import SMALL_BODY_BYTES, Quota

# A client has so long (s), or longer at this rate, to take what the kernel did not take at once.
MIN_SEND_TIMEOUT_S = 300.0
MIN_SEND_BYTES_PER_S = 8192.0
TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", 18)


class ClientSocket(gevent.socket.socket):  # type: ignore[misc] # gevent has no types
    """A client's socket, whose every small write is one call to the kernel.

    What the kernel does not take at once is charged to `unsent_quota` for the `owner` of the
    request, unless the whole reply is charged already (`is_charged`).  It may take `send_timeout`
    seconds and then `MIN_SEND_TIMEOUT_S`, or longer at `MIN_SEND_BYTES_PER_S`.  A client that
    takes nothing at all is cut sooner, by TCP (`bound_silence`).
    """

    is_charged = False
    owner = NO_OWNER
    send_timeout = 60.0
    unsent_quota: Quota | None = None
    # Whether a write was given up since its client took nothing.
    has_stalled = False

    def bound_silence(self) -> None:
        """Have TCP cut a peer that acknowledges nothing for `send_timeout` seconds."""
        try:
            milliseconds = round(self.send_timeout * 1000)
            self.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, milliseconds)
        except OSError:
            pass  # a Unix socket has no such option

    def try_send(self, data: bytes) -> int:
        """How much of `data` the kernel took; raises BlockingIOError rather than wait."""
        sent: int = self.send(data, 0, 0.0)
        return sent

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """Write all of `data`, waiting for the client where it is slow.

        gevent's own asks for the size of the kernel's buffer first, each time.  Raises
        TimeoutError where it is too slow, or too many others are slow.
        """
        try:
            sent = self.send(data, flags, 0.0)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            try:
                self._send_rest(memoryview(data)[sent:], flags)
            except TimeoutError:
                self.has_stalled = True
                raise

    def _send_rest(self, rest: memoryview, flags: int) -> None:
        size, owner = len(rest), self.owner
        quota = self.unsent_quota if size > SMALL_BODY_BYTES and not self.is_charged else None
        if quota is not None:
            try:
                quota.acquire(owner, size, 0)
            except AtCapacity as fault:
                raise TimeoutError(fault.message) from None
        try:
            timeout = self.send_timeout + max(MIN_SEND_TIMEOUT_S, size / MIN_SEND_BYTES_PER_S)
            deadline = time.monotonic() + timeout
            while rest:
                rest = rest[self.send(rest, flags, max(deadline - time.monotonic(), 0.001)) :]
        finally:
            if quota is not None:
                quota.release(owner, size, 0)
