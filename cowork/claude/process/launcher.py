"""Starts CLI processes: argv, environment, directory, and the wait until one answers."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cowork.claude import command, orphans
from cowork.claude.installation import ClaudeCli
from cowork.claude.launch_options import DEFAULT, LaunchOptions
from cowork.claude.process.continuation import Continuation
from cowork.claude.process.process import ClaudeProcess
from cowork.claude.process.spawner import Spawner
from cowork.claude.session_files import SessionFiles
from cowork.errors import AtCapacity, ClaudeUnavailable
from cowork.log import logger
from cowork.runtime.fair_queue import FairSemaphore
from cowork.runtime.fd_watcher import FdWatcher
from cowork.runtime.ids import new_hex, new_id
from cowork.runtime.unix_user import make_folder

log = logger(__name__)

READY_TIMEOUT_S = 30.0
# A start that takes longer than this waits for something else than a core.
MAX_CPU_START_S = 2.0
POLL_INTERVAL_S = 0.2
# After so many failed warm-ups in a row there are no more: this CLI cannot do it.
MAX_WARM_UP_FAILURES = 3
NO_PERSISTENCE = "--no-session-persistence"


@dataclass(frozen=True, slots=True)
class Throwaway:
    """A session of which nothing is kept; `config` takes the place of the user's own folder."""

    config: str | None = None


class Launcher:
    """Starts processes that are ready to be asked; `timeout` (seconds) bounds each start."""

    def __init__(
        self,
        cli: ClaudeCli,
        *,
        environ: Mapping[str, str],
        launch_config: command.LaunchConfig,
        timeout: float = READY_TIMEOUT_S,
    ) -> None:
        self.launch_config = launch_config
        self._cli = cli
        self._environ = environ
        self.timeout = timeout
        self._spawner = Spawner()
        self._watcher = FdWatcher("claude-stderr")
        self._warm_up_failures = 0
        # A start is half a second of CPU: more of them at once than cores only delays all.
        self._start_permits = FairSemaphore(max(1, os.cpu_count() or 1))

    def generation(self) -> int:
        """Another number when the CLI's executable is another one than before."""
        return self._cli.generation()

    def start(
        self,
        session_id: str,
        cwd: str,
        *,
        resume: bool,
        options: LaunchOptions = DEFAULT,
        model: str | None = None,
        given_up: Callable[[], bool] = lambda: False,
        throwaway: Throwaway | None = None,
        owner: str | None = None,
        on_spawn: Callable[[ClaudeProcess], None] = lambda _process: None,
        continuation: Continuation | None = None,
    ) -> ClaudeProcess:
        """A process for that session, ready; ended again when it is not so in time.

        `on_spawn` is called as soon as there is a process.  With a `continuation` it goes on by
        itself with a turn that a former process has begun.  Owners whose starts wait for a core
        take turns.
        Raises `SessionMissing`, `SessionInUse`, `AtCapacity`, `ClaudeUnavailable`.
        """
        deadline = time.monotonic() + self.timeout
        permit = self._start_permits.acquire(owner, deadline, given_up)
        if permit is None:
            raise AtCapacity("too many Claude processes are starting", retry_after=5)
        try:
            process = self._spawn(
                session_id,
                cwd,
                resume=resume,
                options=options,
                model=model,
                throwaway=throwaway,
                continuation=continuation,
            )
            on_spawn(process)
            ready = self._is_ready(
                process, min(deadline, time.monotonic() + MAX_CPU_START_S), given_up
            )
        finally:
            self._start_permits.release(permit)
        if not ready and not self._is_ready(process, deadline, given_up):
            _end(process)
            raise ClaudeUnavailable(
                f"the Claude CLI did not start within {self.timeout:g} s"
                " (COWORK_START_TIMEOUT, or CLAUDE_TIMEOUT where that is shorter)"
            )
        self._cli.saw_remote_control(there=process.remote_control)
        log.debug("process started", pid=process.pid, session_id=session_id, resume=resume)
        return process

    def start_prewarmed(
        self,
        cwd: str,
        *,
        options: LaunchOptions = DEFAULT,
        given_up: Callable[[], bool],
        on_spawn: Callable[[ClaudeProcess], None],
        owner: str | None = None,
    ) -> ClaudeProcess:
        """A process for a session that is yet to begin, which has been warmed up.  As `start`."""

        def start() -> ClaudeProcess:
            new = new_id()
            return self.start(
                new,
                cwd,
                resume=False,
                options=options,
                given_up=given_up,
                owner=owner,
                on_spawn=on_spawn,
            )

        process = start()
        if self._warm_up_failures >= MAX_WARM_UP_FAILURES:
            return process
        try:
            warmed_up = process.warm_up()
        except BaseException:
            _end(process)
            raise
        if warmed_up:
            self._warm_up_failures = 0
            return process
        _end(process)
        self._warm_up_failures += 1
        log.warning("CLI warm-up failed", pid=process.pid, times=self._warm_up_failures)
        return start()

    @staticmethod
    def _is_ready(process: ClaudeProcess, until: float, given_up: Callable[[], bool]) -> bool:
        """Whether it answers by `until` (monotonic); one that ends instead raises, and is ended."""
        ready = False
        try:
            while not ready and time.monotonic() < until and not given_up():
                ready = process.wait_ready(min(until, time.monotonic() + POLL_INTERVAL_S))
        except BaseException:
            _end(process)
            raise
        return ready

    def _spawn(
        self,
        session_id: str,
        cwd: str,
        *,
        resume: bool,
        options: LaunchOptions,
        model: str | None,
        throwaway: Throwaway | None,
        continuation: Continuation | None,
    ) -> ClaudeProcess:
        process_id = new_hex()
        env = command.environment(
            self._environ,
            marker=orphans.marker(process_id),
            launch_config=self.launch_config,
            options=options,
        )
        if throwaway is not None and throwaway.config is not None:
            env["CLAUDE_CONFIG_DIR"] = throwaway.config
        argv = command.argv(
            self._cli.path(),
            session_id,
            resume=resume,
            launch_config=self.launch_config,
            options=options,
            model=model,
            environ=env,
        )
        try:
            if not resume:  # a session that goes on in a new, empty folder would not know it
                make_folder(Path(cwd), self.launch_config.cli_user)
            privilege_prefix, start = command.privilege_prefix(self.launch_config, cwd)
            untraced = [] if throwaway is None else [NO_PERSISTENCE]
            child = self._spawner.spawn([*privilege_prefix, *argv, *untraced], env=env, cwd=start)
        except (OSError, RuntimeError) as fault:
            log.error("could not start the CLI", cwd=cwd, error=str(fault))
            raise ClaudeUnavailable(
                "the Claude CLI could not be started; see the server's log", retry_after=5
            ) from fault
        try:
            return ClaudeProcess(
                child,
                process_id=process_id,
                session_id=session_id,
                cwd=cwd,
                watcher=self._watcher,
                resumed=resume,
                initialize=options.initialize(),
                model=model,
                plans=(options.permission_mode or self.launch_config.permission_mode) == "plan",
                continuation=continuation,
                on_unknown=self._cli.saw_unknown,
            )
        except RuntimeError as fault:  # there are no more threads
            log.error(
                "could not start a reader thread for a CLI process", pid=child.pid, error=str(fault)
            )
            raise ClaudeUnavailable(
                "the server has no thread for a process", retry_after=5
            ) from fault

    def config_folder(self) -> Path:
        """Where the CLI keeps its user's things."""
        return Path(command.config_folder(self._given()))

    def session_files(self) -> SessionFiles:
        """What the CLI keeps of its sessions, to be removed."""
        temporary = map(Path, command.temporary_folders(self._given()))
        return SessionFiles(self.config_folder(), list(temporary), self.launch_config.cli_user)

    def _given(self) -> dict[str, str]:
        return command.environment(self._environ, marker="", launch_config=self.launch_config)

    def close(self) -> None:
        """Let the threads end; only when every process has."""
        self._spawner.close()
        self._watcher.close()


def _end(process: ClaudeProcess) -> None:
    process.shorten_timeouts()  # it has no turn to finish
    process.end()


def find_setpriv() -> str | None:
    """util-linux's `setpriv`, which ties a child's life to ours; None where there is none."""
    return shutil.which("setpriv") if Path("/proc/self/environ").exists() else None
