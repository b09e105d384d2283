"""One kind of fault after the other, each with a server of its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from tests.faults import (
    approvals,
    blackholes,
    crashes,
    cuts,
    deliveries,
    disconnects,
    evictions,
    interrupts,
    kills,
    pairs,
    partitions,
    retries,
    spares,
    steering,
    workers,
)
from tests.faults.environment import Ground, ask, compare
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
    (evictions, 300),
    (workers, 50),
    (partitions, 10),
    (approvals, 1000),
    (steering, 200),
]
# What asks the real CLI takes ten times the CPU of what asks the fake one: of a part of the loop it
# has half the share.
REAL = {approvals, evictions}


def run(seed: int, scale: float, say: Callable[[str], None] = lambda _: None) -> Report:
    """All kinds; `say` gets each row's text as it is done."""
    report, begun = Report(seed, scale), time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="faults-") as folder,
        Ground(Path(folder), seed) as ground,
    ):
        for kind, count in KINDS:
            row = _kind(ground, kind, _share(kind, count, scale))
            report.rows.append(row)
            say("\n".join(row.lines()))
        ground.end()
        ground.lifelines.wait_for(0, 10)
        report.left = ground.lifelines.held
    report.seconds = time.monotonic() - begun
    return report


def _share(kind: ModuleType, count: int, scale: float) -> int:
    """How often at this scale."""
    share = scale / 2 if kind in REAL and scale < 1 else scale
    return max(1, round(count * share))


def _kind(ground: Ground, kind: ModuleType, count: int) -> Row:
    row, begun = Row(kind.__name__.rpartition(".")[2]), time.monotonic()
    try:
        settings = getattr(kind, "SETTINGS", None)
        if settings is None:
            # It kills each worker, has two at once, or counts by itself.
            ground.end()
            kind.run(ground, row, count)
        else:
            ground.boot(**settings)
            warm_up(ground)
            before = ground.held()
            kind.run(ground, row, count)
            compare(row, before, ground.held(before.counts))
    except Exception as fault:  # noqa: BLE001 - one kind's end must not hide the others
        row.wrong.append(f"the loop itself broke: {fault!r}")
    row.seconds = time.monotonic() - begun
    return row


def warm_up(ground: Ground) -> None:
    """Have made what is made on first use: it is no leak."""

    def warm(number: int) -> None:
        # The longest is silent for so long that its client is watched.
        scene = f"[[pause {number * 150}]] [[tool]] warm"
        ask(ground.server, scene, f"w{number}", streaming=bool(number % 2))

    ground.each(warm, 4)
