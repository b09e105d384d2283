"""Metrics in prometheus-client's registry, and its text of what several workers have counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import prometheus_client as client
from prometheus_client.core import Metric as Family

from cowork.log import logger
from cowork.telemetry.catalogue import ALL, Metric
from cowork.telemetry.metrics import Metrics, Reading
from cowork.telemetry.samples import Sample, Samples

log = logger(__name__)

# Of one metric; what comes after them is counted under `other`.  Keys times models are the most.
MAX_SERIES = 2000
OTHER = "other"

_TYPES: dict[str, Any] = {"counter": client.Counter, "histogram": client.Histogram}
_BY_NAME = {each.full_name: each for each in ALL}


class PrometheusMetrics(Metrics):
    """Counts, in a registry of its own."""

    def __init__(self) -> None:
        self._collectors: dict[Metric, Any] = {}
        self._children: dict[Metric, dict[tuple[str, ...], Any]] = {}
        self._readers: dict[Metric, Callable[[], Reading]] = {}
        self._everybodys: set[Metric] = set()
        self._failing: set[Metric] = set()
        for metric in ALL:
            if (kind := _TYPES.get(metric.kind)) is not None:
                buckets = {"buckets": metric.buckets} if metric.buckets else {}
                # In no registry: `samples` alone asks them.
                made = kind(metric.full_name, metric.help, metric.labels, registry=None, **buckets)
                self._collectors[metric] = made
                self._children[metric] = {} if metric.labels else {(): made}

    def count(self, metric: Metric, *labels: str, by: float = 1.0) -> None:
        self._child(metric, labels).inc(by)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        self._child(metric, labels).observe(value)

    def watch(
        self, metric: Metric, read: Callable[[], Reading], *, is_everybodys: bool = False
    ) -> None:
        self._readers[metric] = read
        if is_everybodys:
            self._everybodys.add(metric)

    def _child(self, metric: Metric, labels: tuple[str, ...]) -> Any:
        children = self._children[metric]
        child = children.get(labels)
        if child is None:
            if len(children) >= MAX_SERIES:
                labels = (OTHER,) * len(labels)
            child = children[labels] = self._collectors[metric].labels(*labels)
        return child

    def samples(self, *, own: bool = False) -> Samples:
        """What has been counted here, and what gauges are now; one that cannot be read is not.

        `own`: without what every worker would read alike.
        """
        found: Samples = {}
        for metric, collector in self._collectors.items():
            found[metric.full_name] = [
                Sample(each.name, each.labels, each.value)
                for family in collector.collect()
                for each in family.samples
                if not each.name.endswith("_created")
            ]
        for metric, read in self._readers.items():
            if own and metric in self._everybodys:
                continue
            name = metric.full_name
            found[name] = [
                Sample(name, dict(zip(metric.labels, labels, strict=True)), value)
                for labels, value in self._read(metric, read).items()
            ]
        return found

    def _read(self, metric: Metric, read: Callable[[], Reading]) -> Reading:
        try:
            found = read()
        except Exception as fault:  # noqa: BLE001 - one figure is not worth all the others
            if metric not in self._failing:
                self._failing.add(metric)
                log.warning("metric unavailable", metric=metric.full_name, error=str(fault))
            return {}
        self._failing.discard(metric)
        return found


def text_of(samples: Samples) -> bytes:
    """The samples as Prometheus' text format 0.0.4; of metrics that nobody knows, nothing."""
    return client.generate_latest(_Collected(samples))


class _Collected:
    """Samples, as a registry shows its collectors."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Family]:
        for name, metric in _BY_NAME.items():
            family = Family(name.removesuffix("_total"), metric.help, metric.kind)
            for each in self._samples.get(name, ()):
                family.add_sample(each.name, each.labels, each.value)
            yield family
