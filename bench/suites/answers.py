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
MOST = max(CONCURRENCIES)
BAR = 900
TOKENS = 20
# What any request costs that does nothing: the way through gunicorn and Flask.
FLOOR = f"{MOST} (/health/live)"


def run(setup: Setup) -> Report:
    """Each connection asks a project of its own, again as soon as it has its answer."""
    rounds, seconds = setup.pick(5, 1), setup.pick(4.0, 0.4)
    question = json.dumps({"project_name": "p{n}", "question": fake.question(TOKENS)})
    cases = {
        str(count): Requests(count, seconds, "/ask_question", body=question)
        for count in CONCURRENCIES
    }
    cases[FLOOR] = Requests(MOST, seconds, "/health/live")
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in cases}
    with faked(setup, "answers", MOST) as server:
        warm(server, MOST)
        for _ in range(rounds):
            for name, wanted in cases.items():
                found[name].append(_round(server, wanted))
    report = Report(details={"rounds": found})
    _tell(report, found)
    return report


def _round(server: Server, wanted: Requests) -> dict[str, Any]:
    limit_s = wanted.seconds + 30.0
    seen: dict[str, Any] = load(server, requests=wanted, limit_s=limit_s)["requests"]
    if seen["errors"]:
        raise RuntimeError(f"{seen['errors']} requests to {wanted.path} were not answered")
    return seen


def _tell(report: Report, found: dict[str, list[dict[str, Any]]]) -> None:
    rows = [["at once", "answers/s", "ms p50", "ms p99", "server's CPU ms each", "client's CPU"]]
    for name, rounds in found.items():
        lags = [Spread.of([seen["lag_ms"][rank] for seen in rounds]) for rank in ("p50", "p99")]
        client = Spread.of([seen["client_cpu_s"] / seen["seconds"] for seen in rounds])
        figures = (_rate(rounds), *lags, _cost(rounds))
        rows.append([name, *map(str, figures), f"{client.median:.0%} of a core"])
    report.show(rows)
    ratio = _cost(found[str(MOST)]).median / _cost(found[FLOOR]).median
    print(f"an answer costs {ratio:.1f} x as much CPU as a request that does nothing\n")
    reached = _rate(found[str(MOST)]).median
    name = f"non-streaming answers/s at concurrency {MOST}, fake CLI"
    report.measures = [Measure(name, f">= {BAR}", short(reached), reached >= BAR)]


def _rate(rounds: list[dict[str, Any]]) -> Spread:
    return Spread.of([seen["answers"] / seen["seconds"] for seen in rounds])


def _cost(rounds: list[dict[str, Any]]) -> Spread:
    return Spread.of([seen["cpu_s"] * 1000 / seen["answers"] for seen in rounds])
