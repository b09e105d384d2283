"""`python -m tests.faults [--seed N] [--scale 1.0] [--report FILE]`: what `make faults` runs."""

from __future__ import annotations

import json
import sys

from tests.faults import loop
from tests.program import arguments, say


def main() -> int:
    """Run the loop; 0 when nothing was left or wrong."""
    given = arguments("python -m tests.faults", __doc__)
    report = loop.run(given.seed, given.scale, say)
    say(report.verdict())
    if given.report is not None:
        given.report.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    return 0 if report.right else 1


if __name__ == "__main__":
    sys.exit(main())
