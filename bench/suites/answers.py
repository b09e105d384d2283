"""Whole answers (`/ask_question`) a second, from resident processes."""

from __future__ import annotations

import json
from typing import Any

from bench import fake
from bench.client import faked, load, warm
from bench.figures import Measure, Spread, short
from bench.plan import Requests
from bench.server import Server
from bench.setup import Report, Setup

CONCURRENCIES = (1, 8, 32)
BAR = 900
TOKENS = 20


def run(setup: Setup) -> Report:
    """Each connection asks a project of its own, again as soon as it has its answer."""
    rounds, seconds = setup.pick(5, 1), setup.pick(4.0, 0.4)
    found: dict[int, list[dict[str, Any]]] = {count: [] for count in CONCURRENCIES}
    with faked(setup, "answers", max(CONCURRENCIES)) as server:
        warm(server, max(CONCURRENCIES))
        for _ in range(rounds):
            for count in CONCURRENCIES:
                found[count].append(_round(server, count, seconds))
    report = Report(details={"rounds": found})
    _tell(report, found)
    return report


def _round(server: Server, count: int, seconds: float) -> dict[str, Any]:
    body = json.dumps({"project_name": "p{n}", "question": fake.question(TOKENS)})
    wanted = Requests(count, seconds, "/ask_question", body=body)
    seen: dict[str, Any] = load(server, requests=wanted, limit_s=seconds + 30.0)["requests"]
    if seen["errors"]:
        raise RuntimeError(f"{seen['errors']} questions were not answered")
    return seen


def _tell(report: Report, found: dict[int, list[dict[str, Any]]]) -> None:
    rows = [["at once", "answers/s", "ms p50", "ms p99", "server's CPU", "client's CPU"]]
    for count, rounds in found.items():
        lags = [[seen["lag_ms"][name] for seen in rounds] for name in ("p50", "p99")]
        costs = [
            Spread.of([seen[name] / seen["seconds"] for seen in rounds]).median
            for name in ("cpu_s", "client_cpu_s")
        ]
        shares = (f"{cost:.0%} of a core" for cost in costs)
        rows.append(
            [str(count), str(_rate(rounds)), *(str(Spread.of(lag)) for lag in lags), *shares]
        )
    report.show(rows)
    most = max(found)
    reached = _rate(found[most]).median
    name = f"non-streaming answers/s at concurrency {most}, fake CLI"
    report.measures = [Measure(name, f">= {BAR}", short(reached), reached >= BAR)]


def _rate(rounds: list[dict[str, Any]]) -> Spread:
    return Spread.of([seen["answers"] / seen["seconds"] for seen in rounds])
