"""Connections without a request under way, in a worker that ends: whoever could not know is heard.

A client that connected before the worker stopped accepting, or keeps its connection, may send a
question at any moment.  One that were refused for it would have met a gap where there is none.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent

from cowork.server.connection import ClientConnection

POLL_INTERVAL_S = 0.01
# For the first request of who connected just before the worker was told to end.
NEW_GRACE_S = 0.5
# For the next request of who keeps a connection to a worker that is replaced; each is answered with
# `Connection: close`.  Who is silent for so long is idle, and finds its connection closed.
KEPT_GRACE_S = 2.0


class IdleConnections:
    """One worker's; each connection is added, waits for requests, and is discarded."""

    def __init__(self) -> None:
        self._new: set[ClientConnection] = set()
        self._kept: set[ClientConnection] = set()
        self._is_over = False

    def add(self, connection: ClientConnection) -> None:
        """A client has connected."""
        self._new.add(connection)

    def wait(self, connection: ClientConnection) -> None:
        """The connection's next request may come now, or not for long."""
        if connection in self._new:
            return
        self._kept.add(connection)
        if self._is_over:
            connection.end_idle()

    def discard(self, connection: ClientConnection) -> None:
        """Its request is there, or it has ended."""
        self._new.discard(connection)
        self._kept.discard(connection)

    def finish_new(self, is_hurried: Callable[[], bool]) -> None:
        """Wait for the first requests of those that are accepted already."""
        self._wait_until_empty(self._new, NEW_GRACE_S, is_hurried)
        gevent.sleep(POLL_INTERVAL_S)  # from being parsed to being handled

    def finish_kept(self, is_hurried: Callable[[], bool]) -> None:
        """Wait for the next requests of those that are kept, then let the idle ones go."""
        self._wait_until_empty(self._kept, KEPT_GRACE_S, is_hurried)
        self._is_over = True
        for connection in list(self._kept):
            connection.end_idle()
        gevent.sleep(POLL_INTERVAL_S)

    @staticmethod
    def _wait_until_empty(
        waiting: set[ClientConnection], timeout: float, is_hurried: Callable[[], bool]
    ) -> None:
        deadline = time.monotonic() + timeout
        while waiting and not is_hurried() and time.monotonic() < deadline:
            gevent.sleep(POLL_INTERVAL_S)
