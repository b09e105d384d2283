"""`python -m tests.attack [--seed N] [--scale 1.0] [--report FILE]`: what `make attack` runs.

An attacker's tour of a running server: who gets in, which pages may call, what schemathesis and
hypothesis think of, slow connections by the hundred, and in the end a search for every secret.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tests.attack import stops
from tests.attack.ground import Ground, Row

SCHEMA_CASES = 2000
NAMES = 2000
SLOW = 200


def tour(seed: int, scale: float, say: Callable[[str], None]) -> list[Row]:
    """Every stop, in order; the search for secrets is the last."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, Ground(Path(folder), seed) as ground:
        for stop in (
            lambda: stops.everything(ground),
            lambda: stops.census(ground),
            lambda: stops.pages(ground),
            lambda: stops.schema(ground, round(SCHEMA_CASES * scale)),
            lambda: stops.names(ground, round(NAMES * scale)),
            lambda: stops.slow(ground, round(SLOW * scale)),
            lambda: stops.canaries(ground),
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
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--scale", type=float, default=1.0, help="0.1 is a tenth of everything")
    parser.add_argument("--report", type=Path, help="also write the report as JSON to this file")
    given = parser.parse_args()

    def say(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    say(f"attack: seed {given.seed}, scale {given.scale:g}")
    rows = tour(given.seed, given.scale, say)
    if given.report is not None:
        given.report.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    return 1 if any(row.faults for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
