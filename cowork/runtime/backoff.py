"""Exponential backoff: a wait that doubles with each failure, with jitter."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """A first wait of `first_s` seconds, doubled by each failure, never above `longest_s`.

    `jitter` (0 to 1) takes up to a half of a wait away, so that several servers do not retry in
    step.  Neither thread-safe nor with a clock of its own: callers say `now` (monotonic s).
    """

    first_s: float
    longest_s: float
    jitter: Callable[[], float] = random.random
    until: float = 0.0
    _wait_s: float = 0.0

    def failed(self, now: float, at_least_s: float = 0.0) -> None:
        """Wait from now on, longer than the last time, and `at_least_s` seconds."""
        self._wait_s = min(self._wait_s * 2 or self.first_s, self.longest_s)
        self.until = now + max(self._wait_s * (1 - self.jitter() / 2), at_least_s)

    def reset(self) -> None:
        """Nothing is waited for any more, and the next wait is the first again."""
        self.until = self._wait_s = 0.0

    def retry_in(self, now: float) -> float:
        """Seconds until the next try may be made; 0 means now."""
        return max(0.0, self.until - now)
