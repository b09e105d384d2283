"""Two workers on one Redis: how much later a reader elsewhere has a token, and what Redis does."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from redis import Redis

from bench import fake, proc
from bench.client import Target, faked, load, warm
from bench.figures import Measure, Spread, short
from bench.plan import Streams
from bench.setup import Report, Setup

RATE = 20
SPREAD_S = 1.0 + 1.0 / RATE
STREAMS, READERS = 50, 200
ADDED_BAR_MS, READ_BAR, UNREAD_BAR = 60.0, 50.0, 5.0
HOME, ELSEWHERE = "its own worker", "another"
START_TIMEOUT_S = 10.0


def run(setup: Setup) -> Report:
    """Two servers; every project's process is at the first, its readers at either, in turn."""
    rounds, window = setup.pick(3, 1), setup.pick(8.0, 2.0)
    most = setup.pick(READERS, STREAMS)
    found: dict[str, list[dict[str, Any]]] = {HOME: [], ELSEWHERE: []}
    with ExitStack() as stack:
        redis = stack.enter_context(_redis(setup))
        url = f"redis://127.0.0.1:{redis.get_connection_kwargs()['port']}/0"
        key = str(setup.folder / "many.key")
        shared = {"COWORK_STORE": url, "COWORK_STORE_KEY_FILE": key}
        first = stack.enter_context(faked(setup, "many-1", most, **shared))
        second = stack.enter_context(faked(setup, "many-2", most, **shared))
        warm(first, most)
        for _ in range(rounds):
            for name, target in ((HOME, first), (ELSEWHERE, second)):
                found[name].append(_round(target, STREAMS, window))
        many = _round(second, most, window)
        seconds = setup.pick(10.0, 3.0)
        calls = {
            "none": _calls(redis, None, seconds),
            HOME: _calls(redis, first, seconds),
            ELSEWHERE: _calls(redis, second, seconds),
        }
    report = Report(details={"rounds": found, "many": many, "calls": calls})
    _tell(report, found, many, most, calls)
    return report


@contextmanager
def _redis(setup: Setup) -> Iterator[Redis]:
    """A Redis that keeps nothing, and a client of it."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise RuntimeError("redis-server is missing; install it with: apt-get install redis-server")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    child = subprocess.Popen(
        proc.tied([binary, *options, "--dir", str(setup.folder)]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    client = Redis(port=port)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                client.ping()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        yield client
    finally:
        client.close()
        child.terminate()
        child.wait(START_TIMEOUT_S)


def _round(target: Target, count: int, window: float) -> dict[str, Any]:
    tokens = round(RATE * (SPREAD_S + window + 0.5))
    question = fake.question(tokens, rate=RATE, together=True)
    wanted = Streams(count, question, tokens + 1, spread_s=SPREAD_S, window_s=window)
    seen: dict[str, Any] = load(target, streams=wanted, limit_s=90.0)["streams"]
    return seen


def _calls(redis: Redis, target: Target | None, seconds: float) -> float:
    """Calls of Redis a second, by one turn of 20 tokens/s that is read there."""
    before, begun = _count(redis), time.monotonic()
    if target is None:
        time.sleep(seconds)
    else:
        _round(target, 1, seconds)
    return (_count(redis) - before) / (time.monotonic() - begun)


def _count(redis: Redis) -> int:
    """How often Redis was called: its commands are those of the scripts too, but not its reads."""
    return int(redis.info("stats")["total_reads_processed"])


def _tell(
    report: Report,
    found: dict[str, list[dict[str, Any]]],
    many: dict[str, Any],
    most: int,
    calls: dict[str, float],
) -> None:
    rows = [["read at", "streams", "added ms p50", "p99", "max", "errors"]]
    for name, rounds in found.items():
        lags = [
            Spread.of([seen["lag_ms"][kind] for seen in rounds]) for kind in ("p50", "p99", "max")
        ]
        errors = sum(seen["errors"] for seen in rounds)
        rows.append([name, str(STREAMS), *map(str, lags), str(errors)])
    lag = many["lag_ms"]
    rows.append(
        [
            ELSEWHERE,
            str(most),
            *(short(lag[kind]) for kind in ("p50", "p99", "max")),
            str(many["errors"]),
        ]
    )
    report.show(rows)
    print("calls of Redis a second: " + ", ".join(f"{name} {n:.1f}" for name, n in calls.items()))
    ours, theirs = (
        Spread.of([seen["lag_ms"]["p99"] for seen in found[name]]).median
        for name in (ELSEWHERE, HOME)
    )
    read, unread = calls[ELSEWHERE] - calls["none"], calls[HOME] - calls["none"]
    report.measures = [
        Measure(
            f"a token read in another worker, {STREAMS} streams: ms later, p99",
            f"<= {ADDED_BAR_MS:g}",
            short(ours - theirs),
            ours - theirs <= ADDED_BAR_MS,
        ),
        Measure(
            f"{most} readers elsewhere: errors",
            "0",
            str(many["errors"]),
            many["errors"] == 0,
        ),
        Measure(
            "calls of Redis a second, a turn read elsewhere",
            f"<= {READ_BAR:g}",
            short(read),
            read <= READ_BAR,
        ),
        Measure(
            "calls of Redis a second, a turn read in its own worker",
            f"<= {UNREAD_BAR:g}",
            short(unread),
            unread <= UNREAD_BAR,
        ),
    ]
