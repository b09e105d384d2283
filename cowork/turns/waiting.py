"""What of a turn waits for a person, and for how long it has: that time is not the turn's own."""

from __future__ import annotations

import time


class Waiting:
    """Not thread-safe: the turn's lock is.  Moments are monotonic.

    `ids` are the approvals that the turn waits for, in their order; `seconds` is how long it has
    waited altogether, `until` when it last went on.
    """

    def __init__(self) -> None:
        self.ids: tuple[str, ...] = ()
        self.until = 0.0
        self._waited_s = 0.0
        self._since = 0.0

    def set(self, ids: tuple[str, ...]) -> None:
        """It waits for these from now on."""
        now = time.monotonic()
        if ids and not self.ids:
            self._since = now
        elif self.ids and not ids:
            self._waited_s += now - self._since
            self.until = now
        self.ids = ids

    @property
    def seconds(self) -> float:
        return self._waited_s + (time.monotonic() - self._since if self.ids else 0.0)
