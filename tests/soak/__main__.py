"""`python -m tests.soak [--minutes 10] [--seed N] [--report FILE]`: what `make soak` runs."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.program import say
from tests.soak import load


def main() -> int:
    """Load a server; 0 when it held nothing more than before and every failure was explained."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of load, after a warm-up (10)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--report", type=Path, help="also write the report as JSON to this file")
    given = parser.parse_args()
    say(f"soak: seed {given.seed}, {given.minutes:g} minutes")
    report = load.run(given.seed, given.minutes)
    say("\n".join([*report.rows[0].lines(), report.verdict()]))
    if given.report is not None:
        given.report.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    return 0 if report.right else 1


if __name__ == "__main__":
    sys.exit(main())
