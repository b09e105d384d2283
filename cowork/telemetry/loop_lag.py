"""Measures how late the event loop runs what is due, which every stream feels."""

from __future__ import annotations

import time

from cowork.runtime.periodic import PeriodicThread
from cowork.telemetry.catalogue import EVENT_LOOP_LAG
from cowork.telemetry.metrics import Metrics

TICK_S = 0.05
JOIN_TIMEOUT_S = 1.0


class LoopLag:
    """Wakes every `TICK_S` in a thread (a greenlet) of its own; `start` and `close` it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._due: float | None = None
        self._thread = PeriodicThread("loop-lag", self._tick)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._thread.stop()
        self._thread.join(JOIN_TIMEOUT_S)

    def _tick(self) -> float:
        now = time.monotonic()
        if self._due is not None:
            self._metrics.observe(EVENT_LOOP_LAG, max(now - self._due, 0.0))
        self._due = now + TICK_S
        return TICK_S
