"""Beside a bare relay on asyncio, in the same run: what the server takes for all that it keeps.

Plain streams, streams with ids, one answer of 10 MB, whole answers, and streams beside requests
that come flat out; case by case in turn.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

from bench import fake, proc
from bench.bare_asyncio import in_asyncio
from bench.client import Target, faked, load, warm
from bench.figures import Measure, Spread, short
from bench.plan import Requests, Streams
from bench.setup import Report, Setup

STREAMS = 50
AT_ONCE = 32
TOKENS = 20
RATE = 20
# Of the fake's words, which are 4.9 bytes long on average.
TEN_MB_TOKENS = 2_000_000
PLAIN, IDS, BARE = "plain", "with ids", "bare asyncio"
RELAY_BAR, TEN_MB_BAR, MEMORY_BAR, ANSWERS_BAR, LAG_BAR_MS = 0.5, 0.8, 1.5, 0.25, 20.0


def run(setup: Setup) -> Report:
    """One server and one bare relay; each case's rounds in turn."""
    rounds = setup.pick(5, 1)
    found: dict[str, list[dict[str, Any]]] = {}
    with ExitStack() as stack:
        # What is kept of ended turns is not what one answer takes.
        server = stack.enter_context(faked(setup, "beside", STREAMS, COWORK_TURN_RETENTION="1"))
        bare = stack.enter_context(in_asyncio(setup.fake.path))
        warm(server, STREAMS)
        warm(bare, STREAMS)
        targets: dict[str, Target] = {PLAIN: server, IDS: server, BARE: bare}
        for number in range(rounds + 1):
            for name, target in targets.items():
                cases = _cases(setup, target, numbered=name == IDS)
                for case, seen in cases.items():
                    if number:  # the first warms up
                        found.setdefault(f"{case}, {name}", []).append(seen)
    report = Report(details=found)
    _tell(report, found)
    return report


def _cases(setup: Setup, target: Target, *, numbered: bool) -> dict[str, dict[str, Any]]:
    seconds = setup.pick(6.0, 1.0)
    total = setup.pick(1_000_000, 100_000)
    found = {"relay": _relay(target, total // STREAMS, STREAMS, numbered=numbered)}
    if numbered:
        return found
    large = setup.pick(TEN_MB_TOKENS, 50_000)
    proc.reset_peak(target.worker)
    found["10 MB"] = _relay(target, large, 1, numbered=False)
    found["10 MB"]["peak_bytes"] = proc.peak_bytes(target.worker)
    question = json.dumps({"project_name": "p{n}", "question": fake.question(TOKENS)})
    asked = Requests(AT_ONCE, seconds, "/ask_question", body=question)
    found["answers"] = load(target, requests=asked)["requests"]
    tokens = round(RATE * (seconds + 1.0))
    slow = fake.question(tokens, rate=RATE, together=True)
    found["flood"] = load(
        target,
        streams=Streams(STREAMS, slow, tokens + 1, spread_s=0.5, window_s=seconds),
        requests=Requests(STREAMS, seconds, "/health"),
    )
    return found


def _relay(target: Target, tokens: int, count: int, *, numbered: bool) -> dict[str, Any]:
    question = fake.question(tokens, together=True)
    wanted = Streams(count, question, tokens=tokens + 1, numbered=numbered)
    seen: dict[str, Any] = load(target, streams=wanted, limit_s=120.0)["streams"]
    if seen["errors"]:
        raise RuntimeError(f"{seen['errors']} streams failed: {seen['shown_errors']}")
    return seen


def _rate(rounds: list[dict[str, Any]]) -> Spread:
    return Spread.of([seen["tokens"] / seen["elapsed_s"] for seen in rounds])


def _answers(rounds: list[dict[str, Any]]) -> Spread:
    return Spread.of([seen["answers"] / seen["seconds"] for seen in rounds])


def _lag(rounds: list[dict[str, Any]]) -> Spread:
    return Spread.of([seen["streams"]["lag_ms"]["p99"] for seen in rounds])


def _peak(rounds: list[dict[str, Any]]) -> Spread:
    return Spread.of([seen["peak_bytes"] / 2**20 for seen in rounds])


def _tell(report: Report, found: dict[str, list[dict[str, Any]]]) -> None:
    rows = [["case", "here", BARE, "ratio"]]
    for case, name, look in (
        ("relay", PLAIN, _rate),
        ("relay", IDS, _rate),
        ("10 MB", PLAIN, _rate),
        ("10 MB", PLAIN, _peak),
        ("answers", PLAIN, _answers),
        ("flood", PLAIN, _lag),
    ):
        ours, theirs = look(found[f"{case}, {name}"]), look(found[f"{case}, {BARE}"])
        rows.append(
            [f"{case}, {name}", str(ours), str(theirs), f"{ours.median / theirs.median:.2f}"]
        )
    report.show(rows)
    relay, large, memory, answers = (float(rows[number][3]) for number in (1, 3, 4, 5))
    lag = _lag(found[f"flood, {PLAIN}"]).median
    of = "of a bare asyncio relay's"
    report.measures = [
        Measure(
            f"{STREAMS} plain streams flat out: tokens/s {of}",
            f">= {RELAY_BAR}",
            short(relay),
            relay >= RELAY_BAR,
        ),
        Measure(
            f"a plain answer of 10 MB: rate {of}",
            f">= {TEN_MB_BAR}",
            short(large),
            large >= TEN_MB_BAR,
        ),
        Measure(
            f"a plain answer of 10 MB: peak memory {of}",
            f"<= {MEMORY_BAR}",
            short(memory),
            memory <= MEMORY_BAR,
        ),
        Measure(
            f"whole answers at {AT_ONCE}: a second, {of}",
            f">= {ANSWERS_BAR}",
            short(answers),
            answers >= ANSWERS_BAR,
        ),
        Measure(
            f"{STREAMS} streams beside /health flat out: added ms, p99",
            f"<= {LAG_BAR_MS:g}",
            short(lag),
            lag <= LAG_BAR_MS,
        ),
    ]
