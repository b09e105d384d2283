"""Finds the CLI's executable, and tells when another one took its place."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from cowork.errors import ClaudeUnavailable
from cowork.runtime import unix_user
from cowork.runtime.unix_user import UnixUser

CLI_WHEEL = "claude-agent-sdk"
INSTALL_ADVICE = (
    "set CLAUDE_CLI_PATH, put `claude` on PATH, or install the one that comes in a wheel, with "
    f"`make install-cli` or `pip install {CLI_WHEEL}`"
)


def find(configured: str, environ: Mapping[str, str], cli_user: UnixUser | None) -> str:
    """The path of `configured`, or, where that is `claude` and not on PATH, the wheel's.

    Raises `ClaudeUnavailable` with what to do.
    """
    named = environ.get("PATH", os.defpath)
    found = shutil.which(os.path.expanduser(configured), path=named)  # noqa: PTH111
    if found is None and configured == "claude":
        found = bundled()
    if found is None:
        raise ClaudeUnavailable(
            f"the Claude CLI was not found or cannot be executed: {INSTALL_ADVICE}"
        )
    path = Path(found).absolute()
    if cli_user is not None and not unix_user.can_access(cli_user, path, os.R_OK | os.X_OK):
        raise ClaudeUnavailable(
            f"{cli_user.name} of COWORK_CLAUDE_USER may not run the Claude CLI at {path}: "
            "install it where every user can get"
        )
    return str(path)


def bundled() -> str | None:
    """The binary inside an installed claude-agent-sdk wheel, if there is one."""
    try:
        spec = importlib.util.find_spec("claude_agent_sdk")
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        binary = Path(place) / "_bundled" / "claude"
        if os.access(binary, os.X_OK):
            return str(binary)
    return None


def fingerprint_of(path: str | None) -> object:
    """What changes with an executable, behind all links; None where there is none."""
    try:
        found = os.stat(path) if path is not None else None  # noqa: PTH116 - with each lease
    except OSError:
        return None
    if found is None:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode
