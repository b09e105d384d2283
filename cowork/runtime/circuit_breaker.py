"""A breaker: after some failures in a row, tries have growing pauses until one succeeds."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

THRESHOLD = 5
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


class Breaker:
    """Counts failures in a row; open from `threshold` of them on.  Durations are seconds.

    Each further failure doubles the pause, of which `jitter` (0 to 1) takes up to a half away, so
    that several servers do not try in step.
    """

    def __init__(
        self,
        *,
        threshold: int = THRESHOLD,
        first_pause: float = FIRST_PAUSE,
        longest_pause: float = LONGEST_PAUSE,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._jitter = jitter
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._next_try = 0.0

    @property
    def failures(self) -> int:
        """How many there were in a row."""
        return self._failures

    @property
    def open(self) -> bool:
        """Whether there were too many failures in a row."""
        return self._failures >= self._threshold

    def wait(self) -> float:
        """Seconds until the next try may be made; 0 means now."""
        with self._lock:
            return max(0.0, self._next_try - self._clock()) if self.open else 0.0

    def failed(self) -> None:
        """A try failed."""
        with self._lock:
            self._failures += 1
            beyond = self._failures - self._threshold
            if beyond >= 0:
                # Bounded before it is used as an exponent: a float has an end.
                pause = min(self._longest_pause, self._first_pause * 2 ** min(beyond, 16))
                self._next_try = self._clock() + pause * (1 - self._jitter() / 2)

    def succeeded(self) -> bool:
        """A try succeeded: the breaker is closed; True when it was open."""
        with self._lock:
            was_open = self.open
            self._failures = 0
            return was_open
