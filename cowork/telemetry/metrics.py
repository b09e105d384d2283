"""How figures are counted, as the rest of the code sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from cowork.telemetry.catalogue import Metric

# What a gauge is, by the values of its labels in their order; `()` where it has none.
Reading: TypeAlias = Mapping[tuple[str, ...], float]


class Metrics:
    """Counts nothing: what parts are given where nobody looks; `PrometheusMetrics` does.

    Labels' values are given in the order of the metric's `labels`.  Nothing here waits or raises.
    May be called from any thread of the interpreter's that gevent knows, not from native ones.
    """

    def count(self, metric: Metric, *labels: str, by: float = 1.0) -> None:
        """Add to a counter."""

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Add a value to a histogram."""

    def watch(
        self, metric: Metric, read: Callable[[], Reading], *, is_everybodys: bool = False
    ) -> None:
        """Read a gauge, or a total that is counted elsewhere, whenever somebody looks.

        `is_everybodys`: the other workers would read the same, and need not be told.
        """


NO_METRICS = Metrics()
