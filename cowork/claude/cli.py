"""Finds the CLI and tells its version and whether it is logged in, without making anyone wait."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from cowork import accounts
from cowork.claude import command, failures, sweep
from cowork.claude.spawn import UMASK
from cowork.errors import ClaudeUnavailable
from cowork.log import logger

log = logger(__name__)

CHECK_TIMEOUT = 15.0
MAX_AGE = 300.0
PROBLEM_AGE = 15.0
# Before it, a CLI that is told to end could leave its tools' processes behind.
OLDEST = (2, 1, 212)
INSTALL_ADVICE = (
    "set CLAUDE_CLI_PATH, put `claude` on PATH, or run `make install-cli` to get the one that "
    "comes in the claude-agent-sdk wheel"
)


@dataclass(frozen=True, slots=True)
class CliState:
    """What is known of the CLI; None is "not found out yet".

    `logged_in` is what the CLI says of itself: an expired login still counts, only a turn tells.
    """

    path: str | None = None
    version: str | None = None
    logged_in: bool | None = None
    auth_method: str | None = None
    problem: str | None = None


class ClaudeCli:
    """The installed CLI: where it is (`path`) and what is known of it (`state`)."""

    def __init__(
        self, configured: str, *, environ: Mapping[str, str], manner: command.Manner
    ) -> None:
        self.configured = configured
        self._environ = environ
        self._manner = manner
        self._lock = threading.Lock()
        self._state = CliState()
        self._checked = float("-inf")
        self._checking: threading.Thread | None = None
        self._asked: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._warned: str | None = ""

    def path(self) -> str:
        """The executable: CLAUDE_CLI_PATH, else `claude` on PATH, else the wheel's.

        Raises `ClaudeUnavailable` with what to do.
        """
        named = self._environ.get("PATH", os.defpath)
        found = shutil.which(os.path.expanduser(self.configured), path=named)  # noqa: PTH111
        if found is None and self.configured == "claude":
            found = bundled()
        if found is None:
            raise ClaudeUnavailable(
                f"the Claude CLI was not found or cannot be executed: {INSTALL_ADVICE}"
            )
        path, account = Path(found).absolute(), self._manner.account
        if account is not None and not accounts.may(account, path, os.R_OK | os.X_OK):
            raise ClaudeUnavailable(
                f"{account.name} of COWORK_CLAUDE_USER may not run the Claude CLI at {path}: "
                "install it where every user can get"
            )
        return str(path)

    def state(self) -> CliState:
        """What is known; starts a check in the background when that is old.  Never waits."""
        with self._lock:
            age = MAX_AGE if self._state.problem is None else PROBLEM_AGE
            old = time.monotonic() - self._checked > age
            if old and self._checking is None and not self._closed:
                self._checking = threading.Thread(target=self.check, name="cli-check", daemon=True)
                self._checking.start()
            return self._state

    def check(self) -> CliState:
        """Ask the CLI for its version and its login; takes about a second."""
        state = CliState(problem="the Claude CLI could not be checked; see the server's log")
        try:
            path = self.path()
            version = self._run(path, "--version").split(" ")[0].strip() or None
            self._warn_of(version)
            logged_in, method = self._login(path)
            problem = None if logged_in else f"not logged in: {failures.LOGIN_ADVICE}"
            state = CliState(path, version, logged_in, method, problem)
        except ClaudeUnavailable as fault:
            state = CliState(problem=fault.message)
        finally:
            with self._lock:
                self._state, self._checked, self._checking = state, time.monotonic(), None
        return state

    def _warn_of(self, version: str | None) -> None:
        """Say once of each version that it is older than it should be, or no version at all."""
        if version == self._warned:
            return
        self._warned = version
        found = re.match(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})", version or "")
        if found is None:
            log.warning("the CLI does not tell its version")
        elif tuple(map(int, found.groups())) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            log.warning("the CLI is old: update it", version=version, oldest=oldest)

    def saw_login(self, *, works: bool) -> None:
        """A turn has shown whether the login works; that counts more than what the CLI says."""
        with self._lock:
            if works == self._state.logged_in:
                return
            problem = None if works else f"the login was refused: {failures.LOGIN_ADVICE}"
            self._state = CliState(
                **{**asdict(self._state), "logged_in": works, "problem": problem}
            )

    def _login(self, path: str) -> tuple[bool, str | None]:
        try:
            said = orjson.loads(self._run(path, "auth", "status"))
        except orjson.JSONDecodeError as fault:
            raise ClaudeUnavailable("the Claude CLI did not say whether it is logged in") from fault
        if not isinstance(said, dict):
            raise ClaudeUnavailable("the Claude CLI did not say whether it is logged in")
        method = said.get("authMethod")
        return said.get("loggedIn") is True, method if isinstance(method, str) else None

    def _run(self, path: str, *arguments: str) -> str:
        environment = command.environment(
            self._environ, marker=sweep.marker("check"), manner=self._manner
        )
        try:
            # Not our own directory: its settings are none of the CLI's business.
            wrapper, start = command.wrapper(self._manner, "/")
            return self._output_of([*wrapper, path, *arguments], environment, start)
        except (OSError, subprocess.TimeoutExpired) as fault:
            log.warning("the CLI could not be run", arguments=arguments, error=str(fault))
            raise ClaudeUnavailable(f"the Claude CLI could not be run: {INSTALL_ADVICE}") from fault

    def _output_of(self, argv: list[str], environment: dict[str, str], cwd: str) -> str:
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
                self._asked = child
                closed = self._closed
            try:
                timeout = 0.0 if closed else CHECK_TIMEOUT
                return child.communicate(timeout=timeout)[0].decode(errors="replace")
            finally:
                child.kill()

    def close(self, timeout: float = 2.0) -> None:
        """End a check that is under way."""
        with self._lock:
            self._closed = True
            checking, asked = self._checking, self._asked
        if asked is not None:
            asked.kill()
        if checking is not None:
            checking.join(timeout)


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
