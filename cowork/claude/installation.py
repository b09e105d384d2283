"""Finds the CLI and tells its version and whether it is logged in, without making anyone wait."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from cowork.claude.command import LaunchConfig
from cowork.claude.executable import find, fingerprint_of
from cowork.claude.one_shot import OneShotCommands, login_status_in, version_in
from cowork.claude.stream_json.failures import login_advice
from cowork.claude.unknown_events import UnknownEvents
from cowork.errors import ClaudeUnavailable
from cowork.log import logger

log = logger(__name__)

# A turn may wait so long for what took the executable's place; seconds.
PROVE_TIMEOUT_S = 5.0
PROVE_RETRY_S = 2.0
STATE_MAX_AGE_S = 300.0
PROBLEM_MAX_AGE_S = 15.0
# Before it, the CLI held a command against our rules as it is written, so that a quote or a
# backslash within an option's name hid it: one session could read another's transcript.  Before
# 2.1.299 it had no switch for `@/any/file` in a question either.
OLDEST_VERSION = (2, 1, 319)


@dataclass(frozen=True, slots=True)
class CliState:
    """What is known of the CLI; None is "not found out yet".

    `logged_in` is what the CLI says of itself: an expired login still counts, only a turn tells.
    `remote_control` is whether its sessions can be steered from elsewhere through the login's
    account, which a process tells when it begins.
    """

    path: str | None = None
    version: str | None = None
    logged_in: bool | None = None
    auth_method: str | None = None
    problem: str | None = None
    remote_control: bool | None = None

    @property
    def is_known(self) -> bool:
        """Whether it was looked at."""
        return self.path is not None or self.problem is not None


class ClaudeCli:
    """The installed CLI: where it is (`path`) and what is known of it (`state`).

    `generation` counts how often another one took its place, `unknown_events` what its processes
    say that is not known.
    """

    def __init__(
        self, configured: str, *, environ: Mapping[str, str], launch_config: LaunchConfig
    ) -> None:
        self.configured = configured
        self._environ = environ
        self._launch_config = launch_config
        self._commands = OneShotCommands(environ, launch_config)
        self.unknown_events = UnknownEvents()
        self._lock = threading.Lock()
        self._state = CliState()
        self._checked = float("-inf")
        self._checked_fingerprint: object = None
        # What the last turn has shown of the login, and whether any has shown that it works: that
        # is all there is where the CLI does not say.
        self._shown: bool | None = None
        self._worked = False
        self._found: str | None = None
        self._fingerprint: object = None
        self._generation = 0
        self._proving = False
        self._prove_after = float("-inf")
        self._checking: threading.Thread | None = None
        self._closed = False
        self._warned: str | None = ""
        self._logged: tuple[object, ...] = ()
        self._remote: bool | None = None
        self._warned_remote: int | None = None

    def path(self) -> str:
        """The executable: CLAUDE_CLI_PATH, else `claude` on PATH, else the wheel's.

        Raises `ClaudeUnavailable` with what to do.
        """
        self._found = find(self.configured, self._environ, self._launch_config.cli_user)
        return self._found

    def generation(self) -> int:
        """The number of the executable that processes are to be started from; costs one stat.

        One that was replaced is asked for its version first, while others go on with what they
        have: it counts when it runs.  One that is gone leaves the number as it is.
        """
        if self._found is not None and fingerprint_of(self._found) == self._fingerprint:
            return self._generation
        # Where there is none, a start says so, and so does the state.
        with suppress(ClaudeUnavailable):
            self._prove(self.path())
        return self._generation

    def _prove(self, path: str) -> None:
        """See whether what is there now runs."""
        fingerprint = fingerprint_of(path)
        with self._lock:
            if self._fingerprint is None:
                self._fingerprint = fingerprint
            if (
                fingerprint == self._fingerprint
                or self._proving
                or time.monotonic() < self._prove_after
            ):
                return
            self._proving = True
        runs = False
        try:
            code, said = self._commands.run(path, "--version", timeout=PROVE_TIMEOUT_S)
            runs = code == 0 and bool(said.strip())
        finally:
            with self._lock:
                self._proving = False
                if runs:
                    self._replaced(fingerprint)
                else:
                    self._prove_after = time.monotonic() + PROVE_RETRY_S
            log.info("CLI executable changed", path=path, runs=runs)
        self.state()

    def _replaced(self, fingerprint: object) -> None:
        """Another CLI is in use from now on, of which nothing is known; the caller has the lock."""
        self._fingerprint = fingerprint
        self._generation += 1
        self._checked = float("-inf")
        self._state = replace(self._state, version=None)

    def state(self) -> CliState:
        """What is known; starts a check in the background when that is old.  Never waits."""
        fingerprint = fingerprint_of(self._found)
        with self._lock:
            age = STATE_MAX_AGE_S if self._state.problem is None else PROBLEM_MAX_AGE_S
            old = time.monotonic() - self._checked > age or fingerprint != self._checked_fingerprint
            if old and self._checking is None and not self._closed:
                checking = threading.Thread(target=self.check, name="cli-check", daemon=True)
                checking.start()  # may fail, and is tried again by the next who asks then
                self._checking = checking
            state = self._state
        if fingerprint is None and state.problem is None and self._found is not None:
            return replace(state, problem=self._missing())
        return state

    def _missing(self) -> str | None:
        """Why it cannot be run, if it is not there."""
        try:
            self.path()
        except ClaudeUnavailable as fault:
            return fault.message
        return None

    def check(self) -> CliState:
        """Ask the CLI for its version and its login; takes about a second."""
        state = CliState(problem="the Claude CLI could not be checked; see the server's log")
        fingerprint, generation = None, self._generation
        try:
            path = self.path()
            fingerprint = fingerprint_of(path)
            version = version_in(self._commands.run(path, "--version")[1])
            self._warn_of(version)
            state = self._judged(CliState(path, version, *self._login(path)))
        except ClaudeUnavailable as fault:
            state = CliState(problem=fault.message)
        finally:
            with self._lock:
                known, current = self._state.version, generation == self._generation
                if current and None not in (known, state.version) and known != state.version:
                    # The same file runs another CLI than before: it is a wrapper.
                    self._generation += 1
                self._state, self._checked_fingerprint, self._checking = state, fingerprint, None
                self._checked = time.monotonic() if current else float("-inf")
        self._log_change(state)
        return state

    def _log_change(self, state: CliState) -> None:
        """Say what was found out, at the start and whenever it is another thing."""
        found = state.path, state.version, state.logged_in, state.problem
        if found == self._logged:
            return
        self._logged = found
        if state.path is not None:
            log.info("claude CLI", path=state.path, version=state.version)
        if state.problem is not None:
            log.warning("claude CLI is not ready", why=state.problem)
        elif state.logged_in:
            log.info("claude login", method=state.auth_method)

    def _judged(self, state: CliState) -> CliState:
        """With what is wrong with its login; what the CLI does not say, a turn may have shown."""
        state = replace(state, remote_control=self._remote)
        if state.logged_in is None:
            known = True if self._shown else None
            silent = "the Claude CLI did not say whether it is logged in"
            return replace(state, logged_in=known, problem=None if self._worked else silent)
        problem = None if state.logged_in else f"not logged in: {login_advice(state.path)}"
        return replace(state, problem=problem)

    def _warn_of(self, version: str | None) -> None:
        """Say once of each version that it is older than it should be, or no version at all."""
        if version == self._warned:
            return
        self._warned = version
        found = re.match(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})", version or "")
        if found is None:
            log.warning("CLI version unknown")
        elif tuple(map(int, found.groups())) < OLDEST_VERSION:
            oldest = ".".join(map(str, OLDEST_VERSION))
            log.warning(
                "the CLI is old: update it; one session may read what was said in another",
                version=version,
                oldest=oldest,
            )

    def saw_login(self, *, works: bool) -> None:
        """A turn has shown whether the login works; that counts more than what the CLI says."""
        with self._lock:
            self._shown = works
            self._worked = self._worked or works
            if works == self._state.logged_in:
                return
            problem = None if works else f"the login was refused: {login_advice(self._found)}"
            self._state = replace(self._state, logged_in=works, problem=problem)

    def saw_remote_control(self, *, there: bool | None) -> None:
        """What a process has said of it, None where it said nothing; told once of each CLI."""
        with self._lock:
            self._remote = there
            self._state = replace(self._state, remote_control=there)
            told = not there or self._warned_remote == self._generation
            if not told:
                self._warned_remote = self._generation
        if not told:
            log.warning(
                "the CLI's sessions can be steered from elsewhere (remote control): switch it off",
                path=self._found,
            )

    def saw_unknown(self, names: list[str]) -> None:
        """A process has said what this server does not know."""
        self.unknown_events.saw(names, self._state.version)

    def _login(self, path: str) -> tuple[bool | None, str | None]:
        """Whether it says that it is logged in, None where it does not say, and how."""
        said = login_status_in(self._commands.run(path, "auth", "status")[1])
        if said is None:
            return None, None
        method = said.get("authMethod")
        return said.get("loggedIn") is True, method if isinstance(method, str) else None

    def close(self, timeout: float = 2.0) -> None:
        """End a check that is under way."""
        with self._lock:
            self._closed = True
            checking = self._checking
        self._commands.close()
        if checking is not None:
            checking.join(timeout)
