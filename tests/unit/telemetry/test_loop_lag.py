"""The event loop's lag is how late a wake-up comes."""

from __future__ import annotations

from cowork.telemetry.catalogue import EVENT_LOOP_LAG
from cowork.telemetry.loop_lag import LoopLag
from cowork.telemetry.metrics import Metrics
from tests.serving import wait_for


class Seen(Metrics):
    def __init__(self) -> None:
        self.values: list[float] = []

    def observe(self, metric, value, *labels):
        assert (metric, labels) == (EVENT_LOOP_LAG, ())
        self.values.append(value)


def test_each_tick_tells_how_late_it_came():
    seen = Seen()
    lag = LoopLag(seen)
    lag.start()
    try:
        wait_for(lambda: len(seen.values) >= 3, what="three ticks")
    finally:
        lag.close()
    assert all(value >= 0 for value in seen.values)
