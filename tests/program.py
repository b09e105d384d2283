"""What the programs among the tests share: their arguments, and a report to a person."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from cowork.claude.executable import bundled


def arguments(prog: str, doc: str | None) -> argparse.Namespace:
    """`seed`, `scale` and `report` as they were given."""
    parser = argparse.ArgumentParser(prog=prog, description=doc)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--scale", type=float, default=1.0, help="0.1 is a tenth of everything")
    parser.add_argument("--report", type=Path, help="also write the report as JSON to this file")
    given = parser.parse_args()
    say(f"{prog.rpartition('.')[2]}: seed {given.seed}, scale {given.scale:g}")
    return given


def say(text: str) -> None:
    """A line for whoever watches, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def real_claude() -> str | None:
    """The real CLI: the one that CLAUDE_CLI_PATH names to be tried, else the wheel's, else PATH's."""
    return os.environ.get("CLAUDE_CLI_PATH") or bundled() or shutil.which("claude")
