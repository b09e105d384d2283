"""One kind of fault after the other, each with a server of its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from tests.faults import (
    blackholes,
    crashes,
    cuts,
    deliveries,
    disconnects,
    interrupts,
    kills,
    pairs,
    retries,
    spares,
)
from tests.faults.ground import Ground, ask
from tests.faults.report import Report, Row

# The module of each kind and how often it happens at scale 1.
KINDS: list[tuple[ModuleType, int]] = [
    (disconnects, 200),
    (kills, 100),
    (cuts, 100),
    (pairs, 50),
    (retries, 20),
    (interrupts, 100),
    (spares, 40),
    (crashes, 50),
    (deliveries, 1000),
    (blackholes, 200),
]
# By how much a worker may have grown when all its processes and sessions are gone again.
GROWTH = {"fds": 10, "threads": 4, "rss_mb": 64}


def run(seed: int, scale: float, say: Callable[[str], None] = lambda _: None) -> Report:
    """All kinds; `say` gets each row's text as it is done."""
    report, begun = Report(seed, scale), time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="faults-") as folder,
        Ground(Path(folder), seed) as ground,
    ):
        for kind, count in KINDS:
            row = _kind(ground, kind, max(1, round(count * scale)))
            report.rows.append(row)
            say("\n".join(row.lines()))
        ground.end()
        ground.lifelines.wait_for(0, 10)
        report.left = ground.lifelines.held
    report.seconds = time.monotonic() - begun
    return report


def _kind(ground: Ground, kind: ModuleType, count: int) -> Row:
    row, begun = Row(kind.__name__.rpartition(".")[2]), time.monotonic()
    try:
        ground.boot(**kind.SETTINGS)
        for number in range(3):  # what is made on first use is no leak
            ask(ground.server, "[[tool]] warm", f"w{number}", streaming=bool(number % 2))
        before, worker = ground.resources(), ground.server.workers()
        kind.run(ground, row, count)
        if ground.server.workers() == worker:
            _compare(row, before, ground.resources())
    except Exception as fault:  # noqa: BLE001 - one kind's end must not hide the others
        row.wrong.append(f"the loop itself broke: {fault!r}")
    row.seconds = time.monotonic() - begun
    return row


def _compare(row: Row, before: dict[str, int], after: dict[str, int]) -> None:
    for name, growth in GROWTH.items():
        row.facts[f"worker's {name}"] = f"{before[name]} to {after[name]}"
        grown = after[name] - before[name]
        row.check(grown <= growth, f"the worker's {name} grew by {grown}")
