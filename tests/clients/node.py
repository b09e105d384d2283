"""Runs the JavaScript of this folder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.conftest import missing
from tests.serving import TIMEOUT_S

HERE = Path(__file__).resolve().parent
MODULES = HERE / "node_modules"


def require_node() -> str:
    """The path of node; skips the test, or fails in CI, where it or npm's packages are missing."""
    binary = shutil.which("node")
    if binary is None:
        missing("node", "apt-get install nodejs")
    if not MODULES.is_dir():
        missing("tests/clients/node_modules", "npm ci --prefix tests/clients")
    return str(binary)


def node_binary(name: str) -> str:
    """The path of a command of one of npm's packages."""
    require_node()
    return str(MODULES / ".bin" / name)


def node(program: str, *arguments: str, timeout: float = TIMEOUT_S) -> str:
    """What the program prints; fails with what it complains of."""
    binary = require_node()
    done = subprocess.run(  # noqa: PLW1510 - asserted below
        [binary, str(HERE / program), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{program} {arguments}: {done.stderr}"
    return done.stdout
