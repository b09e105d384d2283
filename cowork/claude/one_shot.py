"""One-shot commands of the CLI (`--version`, `auth status`), and what they print."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Mapping
from typing import Any

from cowork.claude import command, orphans
from cowork.claude.command import UMASK, LaunchConfig
from cowork.claude.executable import INSTALL_ADVICE
from cowork.errors import ClaudeUnavailable
from cowork.log import logger

log = logger(__name__)

CHECK_TIMEOUT_S = 15.0
# What a wrapper prints before the CLI does is no version: "Now using node v20.1.0".
_VERSIONS = (
    re.compile(r"(\d+\.\d+\S*) \(Claude Code\)"),
    re.compile(r"^[ \t]*(\d+\.\d+\S*)", re.MULTILINE),
)
_OBJECT = re.compile(r"^[ \t]*\{", re.MULTILINE)


class OneShotCommands:
    """Runs commands in bounded time, with the environment that every process of the CLI gets."""

    def __init__(self, environ: Mapping[str, str], launch_config: LaunchConfig) -> None:
        self._environ = environ
        self._launch_config = launch_config
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._closed = False

    def run(
        self, path: str, *arguments: str, timeout: float = CHECK_TIMEOUT_S
    ) -> tuple[int | None, str]:
        """Its exit code and what it wrote; raises `ClaudeUnavailable`."""
        environment = command.environment(
            self._environ, marker=orphans.marker("check"), launch_config=self._launch_config
        )
        try:
            # Not our own directory: its settings are none of the CLI's business.
            privilege_prefix, start = command.privilege_prefix(self._launch_config, "/")
            return self._output_of(
                [*privilege_prefix, path, *arguments], environment, start, timeout
            )
        except (OSError, subprocess.TimeoutExpired) as fault:
            log.warning("could not run the CLI", arguments=arguments, error=str(fault))
            raise ClaudeUnavailable(f"the Claude CLI could not be run: {INSTALL_ADVICE}") from fault

    def _output_of(
        self, argv: list[str], environment: dict[str, str], cwd: str, timeout: float
    ) -> tuple[int | None, str]:
        child = subprocess.Popen(
            argv,
            env=environment,
            cwd=cwd,
            umask=UMASK,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with child:
            with self._lock:
                self._running = child
                closed = self._closed
            try:
                said = child.communicate(timeout=0.0 if closed else timeout)[0]
                return child.returncode, said.decode(errors="replace")
            finally:
                child.kill()

    def close(self) -> None:
        """End the command that runs; later ones end at once."""
        with self._lock:
            self._closed = True
            running = self._running
        if running is not None:
            running.kill()


def version_in(said: str) -> str | None:
    """The version in what the CLI printed, whatever else stands there."""
    found = next((match for each in _VERSIONS if (match := each.search(said))), None)
    return found.group(1) if found is not None else None


def login_status_in(said: str) -> dict[str, Any] | None:
    """The first JSON object that begins a line and speaks of a login."""
    for begins in _OBJECT.finditer(said):
        try:
            found, _ = json.JSONDecoder().raw_decode(said, begins.end() - 1)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and "loggedIn" in found:
            return found
    return None
