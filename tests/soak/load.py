"""A mixed load on one server: all that clients of any API do, and kills of CLIs.

One session in four (one in eight of a short load) is the real CLI's, on the demo model; the
others are the fake's.
"""

from __future__ import annotations

import os
import shlex
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from cowork.claude import orphans as sweep
from cowork.demo.model import serve
from tests import program
from tests.faults.environment import Ground, Held, compare, fresh
from tests.faults.report import Report, Row
from tests.serving import wait_for
from tests.soak.actions import ACTIONS
from tests.soak.tally import Tally

CLIENTS = 8
PROJECTS = 24
RETENTION_S = 5
SETTINGS = {
    "COWORK_DISCONNECT_GRACE": "0",
    "COWORK_FIRST_EVENT_WAIT": "0.05",
    # Fewer than there are projects, so that they make room for each other.
    "COWORK_MAX_PROCESSES": str(CLIENTS + 2),
    "COWORK_TURN_RETENTION": str(RETENTION_S),
    "COWORK_COMPAT_RETENTION": str(RETENTION_S),
}
# The first digit of a session's id says which CLI has it, now and when it is resumed.  Fewer are
# the real one's in a short load, which leaves the machine to other tests.
REAL = {True: "0123", False: "01"}
MIXED = """#!/bin/sh
for argument; do
    case $argument in --session-id=[{digits}]*|--resume=[{digits}]*) exec {real} "$@" ;; esac
done
exec {fake} "$@"
"""
# The allocator has seen everything after five minutes.
WARM_UP_S = (8.0, 300.0)
# Between two things that a client does.
PAUSE_S = {True: 0.0, False: 1.0}
# By how much memory may grow; a short load ends before the allocator has seen everything.
WHOLE_MINUTES = 10.0
GROWTH = {True: 0.05, False: 0.1}


def run(seed: int, minutes: float) -> Report:
    """Warm up, then load a server for so long; the report has one row."""
    report, begun, row = Report(seed, minutes / 10), time.monotonic(), Row("soak")
    report.rows.append(row)
    real = REAL[minutes >= WHOLE_MINUTES]
    with _ground(seed, real) as ground:
        seconds = minutes * 60
        pause = PAUSE_S[minutes >= WHOLE_MINUTES]
        _load(ground, "warm-up", min(WARM_UP_S[1], max(WARM_UP_S[0], seconds / 2)), pause)
        before, workers = _quiet(ground), ground.server.workers()
        with _by_the_minute(workers) as memory:
            tally = _load(ground, "load", seconds, pause)
        after = _quiet(ground, before)
        _judge(row, tally, seconds, real)
        row.facts["worker's MB by the minute"] = " ".join(memory) or "less than a minute"
        growth = GROWTH[minutes >= WHOLE_MINUTES]
        compare(row, before, after, growth_kb=int(before.rss_kb * growth))
        row.check(after.counts["processes"] == 0, "processes that ended are held still")
        row.check(ground.server.workers() == workers, "the worker is another")
        orphans = [pid for worker in workers for pid in sweep.find_started_by(worker)]
        ground.end()
        ground.lifelines.wait_for(0, 10)
        report.left = len(orphans) + ground.lifelines.held
    report.seconds = row.seconds = time.monotonic() - begun
    return report


@contextmanager
def _by_the_minute(workers: list[int]) -> Iterator[list[str]]:
    """What the first of these processes takes, each minute: whether it still grows at the end."""
    found: list[str] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(60.0):
            pages = int(Path(f"/proc/{workers[0]}/statm").read_text().split()[1])
            found.append(f"{pages * os.sysconf('SC_PAGE_SIZE') / 2**20:.1f}")

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield found
    finally:
        over.set()
        looker.join()


@contextmanager
def _ground(seed: int, digits: str) -> Iterator[Ground]:
    """A server over both CLIs; a session whose id begins with one of these is the real one's."""
    claude = program.real_claude()
    assert claude is not None, "the claude CLI is missing; install it with: make install-cli"
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as name,
        serve(delay=0.005, keep=50) as model,
        Ground(Path(name), seed) as ground,
    ):
        mixed = Path(name) / "claude"
        fake = shlex.quote(str(ground.fake))
        real = shlex.quote(program.knowing_its_login(str(claude), Path(name) / "real"))
        mixed.write_text(MIXED.format(digits=digits, real=real, fake=fake))
        mixed.chmod(0o755)
        ground.boot(
            CLAUDE_CLI_PATH=str(mixed),
            CLAUDE_CONFIG_DIR=f"{name}/config",
            ANTHROPIC_BASE_URL=model.url,
            ANTHROPIC_API_KEY="sk-dummy",
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
            **SETTINGS,
        )
        yield ground


def _load(ground: Ground, phase: str, seconds: float, pause: float) -> Tally:
    """Every client does one thing after the other until the time is over."""
    tally, over = Tally(), time.monotonic() + seconds

    def act(number: int) -> None:
        dice = ground.dice(phase, number)
        kinds, weights = [*ACTIONS], [*ACTIONS.values()]
        while time.monotonic() < over:
            time.sleep(pause)
            (action,) = dice.choices(kinds, weights)
            project = f"s{dice.randrange(PROJECTS)}"
            with closing(fresh(ground.server)) as client:
                action(client, project, dice, tally)
            tally.actions[action.__name__.strip("_")] += 1

    with ThreadPoolExecutor(CLIENTS) as pool:
        for client in [pool.submit(act, number) for number in range(CLIENTS)]:
            client.result()
    return tally


def _quiet(ground: Ground, before: Held | None = None) -> Held:
    """What the worker holds when nothing goes on, and the last turn is forgotten."""
    with closing(fresh(ground.server)) as client:
        turn = client.ask("[[say last]]", "last").headers["X-Turn-ID"]
        wait_for(
            lambda: client.get(f"/turns/{turn}").status_code in {404, 410},
            RETENTION_S + 20.0,
            "forgetting the last turn",
        )
    return ground.held(before.counts if before is not None else None)


def _judge(row: Row, tally: Tally, seconds: float, digits: str) -> None:
    row.done = sum(tally.actions.values())
    row.outcomes.update(tally.actions)
    explained: Counter[str] = Counter()
    for failure in tally.failures:
        why = tally.explanation(*failure)
        explained[f"{failure[3]} by {why}"] += why is not None
        took = f"{failure[2] - failure[1]:.1f} s: {tally.said[failure]}"
        row.check(why is not None, f"{failure[0]}: {failure[3]} that nothing explains, {took}")
    took = [seconds for seconds, _ in tally.answers]
    real = sum(session[:1] in digits for _, session in tally.answers)
    row.check(len(took) > 1, "hardly anything was answered")
    row.check(real > 0, "nothing was answered by the real CLI")
    row.facts["5xx"] = ", ".join(f"{n} {what}" for what, n in explained.items() if n) or "none"
    row.facts["actions a minute"] = f"{row.done / seconds * 60:.0f}"
    row.facts["answers a minute"] = f"{len(took) / seconds * 60:.0f}"
    row.facts["of them by the real CLI"] = f"{real / max(1, len(took)):.0%}"
    row.facts["kills"] = len(tally.kills)
    if len(took) > 1:
        row.facts["an answer's median"] = f"{statistics.median(took) * 1000:.0f} ms"
        row.facts["and 95 %"] = f"{statistics.quantiles(took, n=20)[-1] * 1000:.0f} ms"
