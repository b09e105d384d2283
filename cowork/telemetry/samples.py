"""What workers have counted, as values that can be stored and added up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from cowork.telemetry.catalogue import ALL, Across


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of `/metrics`: a series' name, which a histogram has several of, and its value."""

    name: str
    labels: dict[str, str]
    value: float


# By the metric's full name.
Samples: TypeAlias = dict[str, list[Sample]]

_GAUGES = {each.full_name: each.across for each in ALL if each.kind == "gauge"}
_MERGE: dict[Across, Any] = {"sum": lambda a, b: a + b, "max": max, "min": min, "each": max}


def merged(all_samples: Iterable[Samples]) -> Samples:
    """The samples of several workers together; counters and histograms add up."""
    found: dict[str, dict[tuple[Any, ...], Sample]] = {}
    for samples in all_samples:
        for metric, told in samples.items():
            merge = _MERGE[_GAUGES.get(metric, "sum")]
            series = found.setdefault(metric, {})
            for each in told:
                key = (each.name, *sorted(each.labels.items()))
                known = series.get(key)
                value = each.value if known is None else merge(known.value, each.value)
                series[key] = Sample(each.name, each.labels, value)
    return {metric: list(series.values()) for metric, series in found.items()}


def of_worker(samples: Samples, worker: str) -> Samples:
    """The samples, with whose they are where a gauge is told for each worker."""
    told = {
        metric: [Sample(each.name, {**each.labels, "worker": worker}, each.value) for each in those]
        for metric, those in samples.items()
        if _GAUGES.get(metric) == "each"
    }
    return {**samples, **told}


def totals(samples: Samples) -> Samples:
    """What of a worker outlives it: all but its gauges."""
    return {metric: told for metric, told in samples.items() if metric not in _GAUGES}


def dumps(samples: Samples, **more: Any) -> bytes:
    """As JSON, to be read by `loads`, with `more` beside it."""
    told = {
        metric: [[each.name, each.labels, each.value] for each in those]
        for metric, those in samples.items()
    }
    return orjson.dumps({"samples": told, **more})


def loads(data: bytes) -> tuple[Samples, dict[str, Any]]:
    """What `dumps` made: the samples, and what was beside them.  Raises ValueError."""
    found = orjson.loads(data)
    samples = {
        metric: [Sample(name, labels, value) for name, labels, value in those]
        for metric, those in found.pop("samples").items()
    }
    return samples, found
