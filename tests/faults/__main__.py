"""`python -m tests.faults [--seed N] [--scale 1.0] [--report FILE]`: what `make faults` runs."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.faults import loop


def main() -> int:
    """Run the loop; 0 when nothing was left or wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--scale", type=float, default=1.0, help="0.1 is a tenth of everything")
    parser.add_argument("--report", type=Path, help="also write the report as JSON to this file")
    given = parser.parse_args()

    def say(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    say(f"faults: seed {given.seed}, scale {given.scale:g}")
    report = loop.run(given.seed, given.scale, say)
    say(report.verdict())
    if given.report is not None:
        given.report.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    return 0 if report.right else 1


if __name__ == "__main__":
    sys.exit(main())
