"""A circuit breaker: after some failures in a row, tries back off until one succeeds."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from cowork.runtime.backoff import Backoff

FAILURE_THRESHOLD = 5
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
# How many pauses long a probe that has reported neither success nor failure keeps others out.
PROBE_PAUSES = 2


class CircuitBreaker:
    """Counts failures in a row; open from `threshold` of them on.  Durations are seconds."""

    def __init__(
        self,
        *,
        threshold: int = FAILURE_THRESHOLD,
        first_pause_s: float = FIRST_PAUSE_S,
        longest_pause_s: float = LONGEST_PAUSE_S,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._probe_timeout_s = PROBE_PAUSES * first_pause_s
        self._clock = clock
        self._lock = threading.Lock()
        self._backoff = Backoff(first_pause_s, longest_pause_s, jitter)
        self._failures = 0

    @property
    def failures(self) -> int:
        """How many there were in a row."""
        return self._failures

    @property
    def is_open(self) -> bool:
        """Whether there were too many failures in a row."""
        return self._failures >= self._threshold

    def retry_in(self) -> float:
        """Seconds until the next try may be made; 0 means now."""
        with self._lock:
            return self._backoff.retry_in(self._clock())

    def allows_try(self) -> bool:
        """Whether a try may be made now: any while closed, and one after each pause while open."""
        if not self.is_open:
            return True
        with self._lock:
            now = self._clock()
            if self._backoff.retry_in(now):
                return False
            self._backoff.until = now + self._probe_timeout_s
            return True

    def failed(self) -> None:
        """A try failed."""
        with self._lock:
            self._failures += 1
            if self.is_open:
                self._backoff.failed(self._clock())

    def succeeded(self) -> bool:
        """A try succeeded: the breaker is closed; True when it was open."""
        with self._lock:
            was_open = self.is_open
            self._failures = 0
            self._backoff.reset()
            return was_open
