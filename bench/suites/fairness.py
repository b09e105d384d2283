"""Whether requests and streams get their turn beside each other."""

from __future__ import annotations

from statistics import mean, median
from typing import Any

from bench import fake
from bench.client import faked, load, warm
from bench.figures import Measure, Spread, short
from bench.plan import Requests, Streams
from bench.setup import Report, Setup

STREAMS = 50
CONNECTIONS = 50
PER_SECOND = 500
TOKEN_RATE = 20
BAR_MS = 20.0
BAR_SHARE = 0.25
_KINDS = ("requests", "streams")


def run(setup: Setup) -> Report:
    """`/health` at a fixed rate beside streams, then as fast as it goes; in turn."""
    rounds, seconds = setup.pick(3, 1), setup.pick(10.0, 2.0)
    steady = Requests(CONNECTIONS, seconds, "/health", rate=PER_SECOND)
    flood = Requests(CONNECTIONS, seconds, "/health")
    found: dict[str, list[dict[str, Any]]] = {"steady": [], "flood": []}
    with faked(setup, "fairness", STREAMS) as server:
        warm(server, STREAMS)
        for _ in range(rounds):
            found["steady"].append(load(server, streams=_streams(seconds), requests=steady))
            found["flood"].append(load(server, streams=_streams(seconds), requests=flood))
    report = Report(details=found)
    _tell(report, found)
    return report


def _streams(seconds: float) -> Streams:
    tokens = round(TOKEN_RATE * (seconds + 1.0))
    question = fake.question(tokens, rate=TOKEN_RATE, together=True)
    return Streams(STREAMS, question, tokens + 1, spread_s=0.5, window_s=seconds)


def _tell(report: Report, found: dict[str, list[dict[str, Any]]]) -> None:
    rows = [["load", "requests/s", "p50 ms", "p99 ms", "streams' added ms p50", "p99", "errors"]]
    for name, rounds in found.items():
        asked = [seen["requests"] for seen in rounds]
        rate = Spread.of([each["answers"] / each["seconds"] for each in asked])
        lags = [_lags(rounds, kind, rank) for kind in _KINDS for rank in ("p50", "p99")]
        rows.append([name, str(rate), *map(str, lags), str(_errors(rounds))])
    report.show(rows)
    shares = [min(share) / mean(share) for share in map(_shares, found["flood"])]
    health, streams = (_lags(found["steady"], kind, "p99").median for kind in _KINDS)
    errors = _errors(found["steady"]) + _errors(found["flood"])
    beside = f"beside {STREAMS} streams"
    smallest = median(shares)
    report.measures = [
        Measure(
            f"/health at {PER_SECOND}/s {beside}: ms from its due time, p99",
            f"<= {BAR_MS:g}",
            short(health),
            health <= BAR_MS,
        ),
        Measure(
            f"{STREAMS} streams beside /health at {PER_SECOND}/s: added ms, p99",
            f"<= {BAR_MS:g}",
            short(streams),
            streams <= BAR_MS,
        ),
        Measure(
            f"flat out: smallest share of {CONNECTIONS} connections, of the mean",
            f">= {BAR_SHARE:g}",
            short(smallest),
            smallest >= BAR_SHARE,
        ),
        Measure("/health and streams together: errors", "0", str(errors), errors == 0),
    ]


def _lags(rounds: list[dict[str, Any]], kind: str, rank: str) -> Spread:
    return Spread.of([seen[kind]["lag_ms"][rank] for seen in rounds])


def _shares(seen: dict[str, Any]) -> list[int]:
    shares: list[int] = seen["requests"]["shares"]
    return shares


def _errors(rounds: list[dict[str, Any]]) -> int:
    return sum(seen[kind]["errors"] for seen in rounds for kind in _KINDS)
