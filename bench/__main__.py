"""`python -m bench [suite ...]` (`make bench`): measure, and say what was reached."""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from bench import fake, proc
from bench.figures import Measure, table
from bench.setup import Report, Setup
from cowork.claude.executable import bundled

LOOK_S = 0.5
QUIET = 0.1
SUITES = (
    "turns",
    "session",
    "memory",
    "relay",
    "slow",
    "answers",
    "fairness",
    "beside",
    "many",
    "dialects",
    "console",
)


def main(arguments: list[str] | None = None) -> int:
    """Run the suites; 0 when every bar was reached."""
    chosen = _arguments(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores SIGINT
        signal.signal(number, _stop)
    _raise_file_limit()
    if chosen.profile:
        chosen.profile.mkdir(parents=True, exist_ok=True)
    reports: dict[str, Report] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="xo-cowork-bench-") as name:
            folder = Path(name)
            claude = bundled() or shutil.which("claude")
            setup = Setup(
                folder,
                fake.build_or_borrow(folder),
                claude,
                quick=chosen.quick,
                profile=chosen.profile,
            )
            for suite in chosen.suites or SUITES:
                reports[suite] = _run(suite, setup)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    measures = [measure for report in reports.values() for measure in report.measures]
    _tell(measures)
    if chosen.json:
        said = {suite: asdict(report) for suite, report in reports.items()}
        chosen.json.write_text(json.dumps(said, indent=1), encoding="utf-8")
    return 0 if all(measure.ok for measure in measures) else 1


def _run(suite: str, setup: Setup) -> Report:
    print(f"== {suite}", flush=True)
    begun = time.monotonic()
    busy = proc.busy_share(LOOK_S)
    if busy > QUIET:
        print(f"warning: the machine is {busy:.0%} busy with other things")
    try:
        report: Report = importlib.import_module(f"bench.suites.{suite}").run(setup)
    except (RuntimeError, OSError, subprocess.SubprocessError) as fault:
        # The other suites' figures are worth having all the same.
        print(f"failed: {fault}")
        report = Report([Measure(f"suite {suite}", "ends", "failed", ok=False)])
    report.details["busy_before"] = busy
    print(f"({suite} took {time.monotonic() - begun:.0f} s)\n", flush=True)
    return report


def _tell(measures: list[Measure]) -> None:
    rows = [[m.name, m.bar, m.reached, "ok" if m.ok else "NOT REACHED"] for m in measures]
    if rows:
        print(table([["measure", "bar", "reached", "ok?"], *rows]))


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of {', '.join(SUITES)}")
    parser.add_argument("--quick", action="store_true", help="a try: small, and soon done")
    parser.add_argument("--profile", type=Path, help="a folder for where the CPU time went")
    parser.add_argument("--json", type=Path, help="a file for all that was measured")
    chosen = parser.parse_args(arguments)
    unknown = [suite for suite in chosen.suites if suite not in SUITES]
    if unknown:
        parser.error(f"no such suite: {', '.join(unknown)}")
    return chosen


def _raise_file_limit() -> None:
    """A stream takes the server four descriptors, and the limit is inherited."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
