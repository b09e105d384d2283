"""Who reads a turn: how many, and what happens when nobody does for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cowork.log import logger

log = logger(__name__)


class Readers:
    """Counts a turn's readers; not thread-safe, the turn's lock is.

    `on_unread` is called, in a thread of its own, `grace` seconds after the last one has left, if
    none has come since; -1 is never.
    """

    def __init__(self, turn_id: str, grace: float, on_unread: Callable[[], None]) -> None:
        self.count = 0
        self._turn_id = turn_id
        self._grace = grace
        self._on_unread = on_unread
        self._timer: threading.Timer | None = None

    def add(self) -> None:
        self.count += 1
        self.cancel_timer()

    def remove(self) -> None:
        self.count -= 1

    def start_timer(self) -> None:
        """Begin the grace, where nobody reads any more."""
        if self.count or self._grace < 0:
            return
        timer = threading.Timer(self._grace, self._on_unread)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError as fault:
            # No more threads: the turn goes on, and its own time limit ends it.
            log.warning(
                "could not start the disconnect timer of a turn",
                turn_id=self._turn_id,
                why=str(fault),
            )
            return
        self._timer = timer

    def cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
