"""Many streams as models write them, 20 tokens a second: what the server adds to each token.

Beside it the same through bare relays, of Python and of C (`bench/bare.py`): what Python and the
event loop add anyway, and what the machine and the load do.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench import bare, fake, proc
from bench.client import Target, faked, load, warm
from bench.figures import Measure, Spread, short
from bench.plan import Streams
from bench.setup import Report, Setup

RATE = 20
# A period longer than a second, so that no two streams are in step: models do not write in unison.
SPREAD_S = 1.0 + 1.0 / RATE
KB = 1000.0


@dataclass(slots=True)
class Found:
    """Rounds by count of streams, and the worker's memory (bytes) by count, before and with them.

    `before` is with so many processes that are idle, `during` with their streams as well; `bare`
    are the rounds of the bare relays, by what they are written in, and count.
    """

    rounds: dict[int, list[dict[str, Any]]]
    bare: dict[tuple[str, int], list[dict[str, Any]]]
    before: dict[int, int] = field(default_factory=dict)
    during: dict[int, int] = field(default_factory=dict)


def run(setup: Setup) -> Report:
    """One server; first each count with no more processes than it needs, then rounds of all."""
    counts = setup.pick((200, 500, 1000), (50, 200))
    window = setup.pick(8.0, 2.0)
    found = Found({count: [] for count in counts}, {})
    with ExitStack() as stack:
        server = stack.enter_context(faked(setup, "slow", max(counts)))
        relays = {"bare Python": stack.enter_context(bare.in_python(setup.fake.path))}
        if setup.fake.kind == "C":
            relays["bare C"] = stack.enter_context(bare.in_c(setup.fake.path, setup.folder))
        rest = proc.resident_bytes(server.worker)
        for count in counts:
            warm(server, count)
            found.before[count] = proc.resident_bytes(server.worker)
            seen = _round(server, count, window)
            found.during[count] = seen["resident_bytes"]
            found.rounds[count].append(seen)
        for number in range(setup.pick(3, 1)):
            for count in counts if number else ():
                found.rounds[count].append(_round(server, count, window))
            for name, relay in relays.items():
                for count in (min(counts), max(counts)):
                    seen = _round(relay, count, window)
                    found.bare.setdefault((name, count), []).append(seen)
    report = Report(details={"rest": rest, "before": found.before, "during": found.during})
    bares = {f"{count}, {name}": rounds for (name, count), rounds in found.bare.items()}
    report.details |= {"rounds": found.rounds, "bare": bares}
    _tell(report, found)
    return report


def _round(server: Target, count: int, window: float) -> dict[str, Any]:
    tokens = round(RATE * (SPREAD_S + window + 0.5))
    question = fake.question(tokens, rate=RATE, together=True)
    wanted = Streams(count, question, tokens + 1, spread_s=SPREAD_S, window_s=window)
    seen: dict[str, Any] = load(server, streams=wanted, limit_s=60.0)["streams"]
    return seen


def _tell(report: Report, found: Found) -> None:
    rows = [["streams", "added ms p50", "p99", "max", "errors", "server's CPU", "client's CPU"]]
    named = [(str(count), rounds) for count, rounds in found.rounds.items()]
    named += [(f"{count} ({name})", rounds) for (name, count), rounds in found.bare.items()]
    for name, rounds in named:
        lags = [[seen["lag_ms"][kind] for seen in rounds] for kind in ("p50", "p99", "max")]
        costs = [f"{_share(rounds, kind):.0%} of a core" for kind in ("cpu_s", "client_cpu_s")]
        errors = sum(seen["errors"] for seen in rounds)
        rows.append([name, *(str(Spread.of(lag)) for lag in lags), str(errors), *costs])
    report.show(rows)
    for count, rounds in found.rounds.items():
        if errors := [error for seen in rounds for error in seen["shown_errors"]]:
            print(f"errors of {count} streams: {errors[:3]}")
    for (name, count), rounds in found.bare.items():
        ratio = _share(found.rounds[count], "cpu_s") / _share(rounds, "cpu_s")
        print(f"{count} streams: {ratio:.2f} x the CPU of {name}")
    report.measures = [*_measures(found), _memory(found)]


def _share(rounds: list[dict[str, Any]], name: str) -> float:
    share: float = median(seen[name] / seen["window_s"] for seen in rounds)
    return share


def _measures(found: Found) -> list[Measure]:
    measures = []
    for count, bar in ((200, 1.0), (1000, 15.0)):
        rounds = found.rounds.get(count, [])
        if not rounds:
            continue
        lag = median(seen["lag_ms"]["p99"] for seen in rounds)
        errors = sum(seen["errors"] for seen in rounds)
        name = f"{count} streams x {RATE} tokens/s"
        measures += [
            Measure(f"{name}: added ms, p99", f"<= {bar:g}", short(lag), lag <= bar),
            Measure(f"{name}: errors", "0", str(errors), errors == 0),
        ]
        if count == 200:
            share = _share(rounds, "cpu_s")
            measures.append(Measure(f"{name}: of a core", "<= 30 %", f"{share:.0%}", share <= 0.3))
    return measures


def _memory(found: Found) -> Measure:
    """The line through the smallest and the largest count: a stream, and its idle process."""
    few, many = min(found.during), max(found.during)
    whole, process = (
        (sizes[many] - sizes[few]) / (many - few) / KB for sizes in (found.during, found.before)
    )
    stream = whole - process
    print(
        f"worker's memory, from {few} to {many} streams: {stream:.0f} kB for each further one, "
        f"beside {process:.0f} kB that its process takes while it is idle"
    )
    return Measure(
        "memory for each further open stream", "<= 60 kB", f"{stream:.0f} kB", stream <= 60
    )
