"""What every load needs: a loop over sockets, a connection, a request, a summary."""

from __future__ import annotations

import heapq
import selectors
import socket
import time
from collections.abc import Callable, Sequence

from bench.figures import percentile

SECOND = 1_000_000_000
BLOCK = 1 << 18


class Loop:
    """Sockets that can be read, and things that are due."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = 0

    def watch(self, sock: socket.socket, readable: Callable[[], None]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, readable)

    def unwatch(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        sock.close()

    def at(self, when: int, call: Callable[[], None]) -> None:
        """Call something at that CLOCK_MONOTONIC time (ns)."""
        self._numbers += 1
        heapq.heappush(self._due, (when, self._numbers, call))

    def run(self, until: int, done: Callable[[], bool]) -> None:
        """Go on until `done()`, but not after `until` (ns)."""
        while not done() and (now := time.monotonic_ns()) < until:
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()
                now = time.monotonic_ns()
            left = (self._due[0][0] if self._due else until) - now
            for key, _ in self._selector.select(max(0.0, min(left / SECOND, 0.5))):
                key.data()

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            self.unwatch(key.fileobj)  # type: ignore[arg-type] # we register nothing but sockets
        self._selector.close()


def connect(port: int) -> socket.socket:
    """A connection to the server."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def request(
    path: str, body: str, *, method: str = "POST", close: bool = False, numbered: bool = False
) -> bytes:
    """A request's bytes; a `numbered` stream has ids."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += ["Accept: text/event-stream"] if numbered else []
    lines += ["Connection: close"] if close else []
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", body]).encode()


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and largest; empty for nothing."""
    if not values:
        return {}
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: percentile(values, share) for name, share in shares.items()}
