"""`python -m tests.attack [--seed N] [--scale 1.0] [--report FILE]`: what `make attack` runs.

An attacker's tour of a running server: who gets in, which pages may call, what schemathesis and
hypothesis think of, slow connections by the hundred, whether it holds more than it says, and in the end a search for every secret.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tests.attack import holding, steps
from tests.attack.environment import Ground, Row
from tests.program import arguments, say

SCHEMA_CASES = 2000
NAMES = 2000
SLOW = 200
MOVES = 800


def tour(seed: int, scale: float, say: Callable[[str], None]) -> list[Row]:
    """Every stop, in order; the search for secrets is the last."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, Ground(Path(folder), seed) as ground:
        for stop in (
            lambda: steps.everything(ground),
            lambda: steps.census(ground),
            lambda: steps.pages(ground),
            lambda: steps.schema(ground, round(SCHEMA_CASES * scale)),
            lambda: steps.names(ground, round(NAMES * scale)),
            lambda: steps.slow(ground, round(SLOW * scale)),
            lambda: holding.hold(ground, round(MOVES * scale)),
            lambda: steps.canaries(ground),
        ):
            begun = time.monotonic()
            row = stop()
            row.facts["seconds"] = round(time.monotonic() - begun, 1)
            rows.append(row)
            say(f"{row.kind:<12} {row.done:>6} tries  {len(row.faults)} wrong  {row.facts}")
            for fault in row.faults[:20]:
                say(f"    {fault}")
    return rows


def main() -> int:
    """Take the tour; 0 when nothing was wrong."""
    given = arguments("python -m tests.attack", __doc__)
    rows = tour(given.seed, given.scale, say)
    if given.report is not None:
        given.report.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    return 1 if any(row.faults for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
