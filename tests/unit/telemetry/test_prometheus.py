"""Figures in prometheus-client's types: bounded series, and gauges that may not be readable."""

from __future__ import annotations

import pytest

from cowork.telemetry import prometheus
from cowork.telemetry.catalogue import ALL, PREFIX, SESSIONS, STORE_UP, TURN_QUEUE, TURNS
from cowork.telemetry.metrics import NO_METRICS
from cowork.telemetry.prometheus import PrometheusMetrics, text_of
from cowork.telemetry.samples import Sample


def test_a_metric_has_a_unit_or_is_a_number_of_things():
    for metric in ALL:
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        if metric.kind == "histogram":
            assert metric.name.endswith(("_seconds", "_bytes")), metric.name
            assert list(metric.buckets) == sorted(metric.buckets)
        assert not {"project", "session", "turn", "path_", "user"} & set(metric.labels)
        assert metric.full_name.startswith(PREFIX)


def test_the_series_of_a_metric_are_bounded(monkeypatch):
    monkeypatch.setattr(prometheus, "MAX_SERIES", 3)
    metrics = PrometheusMetrics()
    for number in range(10):
        metrics.count(TURNS, "native", "answer", "failed", f"code-{number}", "me")
    found = {each.labels["code"]: each.value for each in metrics.samples()[TURNS.full_name]}
    assert found == {"code-0": 1, "code-1": 1, "code-2": 1, "other": 7}


def test_a_gauge_that_cannot_be_read_is_left_out_and_said_once(capsys):
    metrics = PrometheusMetrics()
    metrics.watch(STORE_UP, lambda: {(): 1.0})
    metrics.watch(SESSIONS, lambda: 1 / 0)
    for _ in range(2):
        found = metrics.samples()
        assert found[SESSIONS.full_name] == []
        assert [each.value for each in found[STORE_UP.full_name]] == [1]
    assert capsys.readouterr().out.count("metric unavailable") == 1


def test_what_everybody_would_read_alike_is_not_told_to_the_others():
    metrics = PrometheusMetrics()
    metrics.watch(SESSIONS, lambda: {(): 3.0}, is_everybodys=True)
    assert SESSIONS.full_name in metrics.samples()
    assert SESSIONS.full_name not in metrics.samples(own=True)


def test_what_nobody_knows_is_not_shown():
    shown = text_of({"cowork_newer_total": [Sample("cowork_newer_total", {}, 1.0)]})
    assert b"newer" not in shown
    assert b"# TYPE cowork_turns_total counter" in shown


def test_a_label_cannot_break_out_of_its_line():
    metrics = PrometheusMetrics()
    metrics.count(TURNS, "native", "answer", "failed", 'a"} 1\ncowork_fake 1', "k")
    shown = text_of(metrics.samples()).decode()
    assert not any(line.startswith("cowork_fake") for line in shown.splitlines())


def test_where_nobody_looks_nothing_is_counted():
    NO_METRICS.count(TURNS, "too few labels")
    NO_METRICS.observe(TURN_QUEUE, 1.0)
    NO_METRICS.watch(SESSIONS, lambda: 1 / 0)


def test_a_count_is_never_lost_between_threads():
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - of this test alone

    metrics = PrometheusMetrics()
    with ThreadPoolExecutor(8) as threads:
        for _ in range(2000):
            threads.submit(metrics.count, TURNS, "native", "answer", "failed", "x", "k")
    (sample,) = metrics.samples()[TURNS.full_name]
    assert sample.value == pytest.approx(2000)
