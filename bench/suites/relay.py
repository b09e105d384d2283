"""How many tokens a second the relay takes when the CLIs write as fast as they can."""

from __future__ import annotations

from typing import Any

from bench import fake
from bench.client import faked, load, warm
from bench.figures import Measure, Spread, short
from bench.plan import Streams
from bench.server import Server
from bench.setup import Report, Setup

COUNTS = (1, 10, 50, 200)
RATE_BAR = 300_000
COST_BAR = 3.3


def run(setup: Setup) -> Report:
    """One server, rounds of each count in turn, all streams of a round begun at one moment."""
    report = Report()
    counts = setup.pick(COUNTS, (1, 50))
    total = setup.pick(1_000_000, 200_000)
    rounds = setup.pick(5, 1)
    bare = _bare(setup, setup.pick(1_000_000, 200_000), rounds)
    found: dict[int, list[dict[str, Any]]] = {count: [] for count in counts}
    with faked(setup, "relay", max(counts)) as server:
        warm(server, max(counts))
        for number in range(rounds + 1):
            for count in counts:
                seen = _round(server, count, total)
                if number:  # the first warms up
                    found[count].append(seen)
    report.details = {"bare": bare, "rounds": found}
    _tell(report, bare, found)
    return report


def _bare(setup: Setup, tokens: int, rounds: int) -> dict[str, list[float]]:
    """The fake alone, a line a write and in blocks."""
    return {
        name: [fake.bare_rate(setup.fake, tokens, block=block) for _ in range(rounds)]
        for name, block in (("a line a write", 1), ("64 lines a write", 64))
    }


def _round(server: Server, count: int, total: int) -> dict[str, Any]:
    tokens = total // count
    question = fake.question(tokens, together=True)
    wanted = Streams(count, question, tokens=tokens + 1)
    seen: dict[str, Any] = load(server, streams=wanted, limit_s=120.0)["streams"]
    if seen["errors"]:
        raise RuntimeError(f"{seen['errors']} streams failed: {seen['shown_errors']}")
    if seen["first_s"] > 0:
        raise RuntimeError("the streams had not all been opened when they were to begin")
    return seen


def _tell(
    report: Report, bare: dict[str, list[float]], found: dict[int, list[dict[str, Any]]]
) -> None:
    alone = Spread.of(bare["a line a write"])
    for name, rates in bare.items():
        print(f"the fake alone, {name}: {Spread.of(rates)} tokens/s")
    rows = [["streams", "tokens/s", "CPU s per million", "of the fake alone", "client's CPU"]]
    slowest, dearest = float("inf"), 0.0
    for count, rounds in found.items():
        rate = Spread.of([seen["tokens"] / seen["elapsed_s"] for seen in rounds])
        cost = Spread.of([seen["cpu_s"] * 1e6 / seen["tokens"] for seen in rounds])
        client = Spread.of([seen["client_cpu_s"] / seen["elapsed_s"] for seen in rounds])
        slowest, dearest = min(slowest, rate.median), max(dearest, cost.median)
        ratio = f"{rate.median / alone.median:.2f}"
        rows.append([str(count), str(rate), str(cost), ratio, f"{client.median:.0%} of a core"])
    report.show(rows)
    streams = f"{min(found)} to {max(found)} streams"
    report.measures = [
        Measure(
            f"relay flat out, {streams}: tokens/s, slowest",
            f">= {short(RATE_BAR)}",
            short(slowest),
            slowest >= RATE_BAR,
        ),
        Measure(
            f"relay flat out, {streams}: CPU s per million tokens, dearest",
            f"<= {COST_BAR}",
            short(dearest),
            dearest <= COST_BAR,
        ),
    ]
