"""What the programs among the tests share: their arguments, and a report to a person."""

from __future__ import annotations

import argparse
import os
import shlex
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


LOGIN_BY_KEY = """{
  "loggedIn": true,
  "authMethod": "api_key",
  "apiProvider": "firstParty",
  "apiKeySource": "ANTHROPIC_API_KEY"
}"""
# Of the environment of a real CLI in a test.  It runs in Bun, whose timer looks for garbage for two
# seconds after a process has come to rest: a quarter of the CPU of one that lives as shortly as here.
QUIET = {"BUN_GC_TIMER_DISABLE": "1"}
_KNOWS_ITS_LOGIN = """#!/bin/sh
export {quiet}
if [ "$*" = "auth status" ] && [ -n "$ANTHROPIC_API_KEY" ]; then
    echo {login}
    exit
fi
exec {claude} "$@"
"""


def knowing_its_login(claude: str, directory: Path) -> str:
    """The real CLI behind a script that says how it is logged in by a key, and keeps it quiet.

    A server asks that at each start, and the CLI itself takes 0.3 s of the CPU to say it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    script = directory / "claude"
    text = _KNOWS_ITS_LOGIN.format(
        login=shlex.quote(LOGIN_BY_KEY),
        claude=shlex.quote(claude),
        quiet=shlex.join(f"{name}={value}" for name, value in QUIET.items()),
    )
    script.write_text(text, encoding="utf-8")
    script.chmod(0o755)
    return str(script)
