"""The resident processes: one a session, kept between turns, a bounded number of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from cowork.claude import sweep
from cowork.claude.process import ClaudeProcess
from cowork.claude.start import LOOK, NO_TRACE, Starter
from cowork.errors import AtCapacity, ClaudeUnavailable, ShuttingDown
from cowork.log import logger

log = logger(__name__)

CLOSE_TIMEOUT = 5.0
PROCESS_BYTES = 350 * 2**20
RESERVED_BYTES = 2 * 2**30


class Pool:
    """Leases a process to one turn at a time.

    `lease` finds a session's process or starts one, `give_back` keeps it for the next turn.  When
    all slots are taken, the idle process that was used longest ago goes; a busy one never does.
    """

    def __init__(
        self, starter: Starter, *, limit: int, idle_timeout: float, slot_timeout: float
    ) -> None:
        self._starter = starter
        self._limit = limit or limit_by_memory()
        self._idle_timeout = idle_timeout
        self._slot_timeout = slot_timeout
        self._changed = threading.Condition()
        self._idle: dict[str, ClaudeProcess] = {}
        self._leased: set[ClaudeProcess] = set()
        self._forgotten: set[ClaudeProcess] = set()
        self._taken = 0
        self._closed = False
        self._reaper: threading.Thread | None = None
        self._asking_skills = threading.Lock()
        self._skills: dict[str, frozenset[str]] = {}

    def lease(
        self,
        session_id: str,
        cwd: str,
        *,
        resume: bool,
        given_up: Callable[[], bool] = lambda: False,
    ) -> ClaudeProcess:
        """The session's process, ready to be asked; `give_back` it or `discard` it.

        Waits for a slot and for a start, both bounded, and no longer than until `given_up()`.
        Raises `SessionMissing`, `SessionInUse`, `AtCapacity`, `ShuttingDown`,
        `ClaudeUnavailable`.
        """
        resident = self._resident(session_id)
        if resident is not None:
            return resident
        self._take_slot(given_up)
        try:
            process = self._starter.start(session_id, cwd, resume=resume, given_up=given_up)
        except BaseException:
            self._free_slot()
            raise
        with self._changed:
            self._leased.add(process)
            closed = self._closed
        if closed:
            self.discard(process)
            raise ShuttingDown("the server is shutting down")
        return process

    def _resident(self, session_id: str) -> ClaudeProcess | None:
        with self._changed:
            process = self._idle.pop(session_id, None)
            if process is not None:
                self._leased.add(process)
        if process is not None and not process.alive:
            self.discard(process)
            return None
        return process

    def give_back(self, process: ClaudeProcess) -> None:
        """Keep the process for its session's next turn, or end it if it is no longer fit."""
        with self._changed:
            keep = process.alive and not process.busy and not self._closed
            keep = keep and process not in self._forgotten
            if keep:
                self._leased.discard(process)
                self._idle[process.session_id] = process
                self._start_reaper()
                self._changed.notify_all()
        if not keep:
            self.discard(process)

    def discard(self, process: ClaudeProcess) -> None:
        """End a leased process and free its slot; takes as long as its ladder."""
        try:
            process.end()
        finally:
            with self._changed:
                self._leased.discard(process)
                self._forgotten.discard(process)
            self._free_slot()

    def forget(self, session_id: str) -> None:
        """End the process of a session that is no more, at once or when its turn is over."""
        with self._changed:
            self._forgotten.update(each for each in self._leased if each.session_id == session_id)
            process = self._idle.pop(session_id, None)
            if process is not None:
                self._leased.add(process)
        if process is not None:
            self.discard(process)

    def counts(self) -> dict[str, int]:
        """How many processes there are: `busy`, `idle` and the `limit` of both."""
        with self._changed:
            idle = len(self._idle)
            return {"busy": self._taken - idle, "idle": idle, "limit": self._limit}

    # -- slots

    def _take_slot(self, given_up: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._slot_timeout
        while True:
            with self._changed:
                if self._closed:
                    raise ShuttingDown("the server is shutting down")
                if self._taken < self._limit:
                    self._taken += 1
                    return
                evicted = self._longest_idle()
                if evicted is None:
                    left = deadline - time.monotonic()
                    if left <= 0 or given_up():
                        raise AtCapacity("every Claude process is busy", retry_after=5)
                    self._changed.wait(min(left, LOOK))
            if evicted is not None:
                log.info("ending an idle process to make room", pid=evicted.pid)
                self.discard(evicted)

    def _longest_idle(self) -> ClaudeProcess | None:
        oldest = min(self._idle.values(), key=lambda process: process.last_used, default=None)
        if oldest is not None:
            del self._idle[oldest.session_id]
            self._leased.add(oldest)
        return oldest

    def _free_slot(self) -> None:
        with self._changed:
            self._taken -= 1
            self._changed.notify_all()

    # -- skills

    def saw_skills(self, cwd: str, skills: tuple[str, ...] | None) -> None:
        """A process has listed the skills it knows in `cwd`."""
        if skills is not None:
            with self._changed:
                self._skills[self._skills_key(cwd)] = frozenset(skills)

    def skills(self, cwd: str) -> frozenset[str]:
        """The skills that the CLI lists in `cwd`; asks a process of its own where not known yet.

        Raises as `lease`.
        """
        with self._asking_skills:
            with self._changed:
                known = self._skills.get(self._skills_key(cwd))
            if known is None:
                self.saw_skills(cwd, self._ask_skills(cwd))
        with self._changed:
            return self._skills[self._skills_key(cwd)]

    def _ask_skills(self, cwd: str) -> tuple[str, ...]:
        self._take_slot(lambda: False)
        try:
            process = self._starter.start(str(uuid4()), cwd, resume=False, extra=(NO_TRACE,))
            try:
                skills = process.list_skills()
            finally:
                process.hurry()
                process.end()
        finally:
            self._free_slot()
        if skills is None:
            raise ClaudeUnavailable("the Claude CLI did not say which skills it has")
        return skills

    def _skills_key(self, cwd: str) -> str:
        """Skills differ between directories only where project settings are read."""
        return cwd if self._starter.manner.trust_projects else ""

    # -- the end

    def _start_reaper(self) -> None:
        if self._reaper is None:
            self._reaper = threading.Thread(target=self._reap, name="claude-reaper", daemon=True)
            self._reaper.start()

    def _reap(self) -> None:
        """End what has been idle too long, and what died while idle."""
        while True:
            with self._changed:
                if self._closed:
                    return
                now = time.monotonic()
                due = [
                    process
                    for process in self._idle.values()
                    if not process.alive or now - process.last_used >= self._idle_timeout
                ]
                for process in due:
                    del self._idle[process.session_id]
                    self._leased.add(process)
                if not due:
                    self._changed.wait(self._next_look(now))
            for process in due:
                try:
                    self.discard(process)
                except Exception:
                    log.exception("ending an idle process failed", pid=process.pid)

    def _next_look(self, now: float) -> float:
        oldest = min((process.last_used for process in self._idle.values()), default=now)
        return min(5.0, max(0.05, oldest + self._idle_timeout - now))

    def close(self) -> None:
        """End every process, all at once and in a hurry: in about two seconds."""
        with self._changed:
            self._closed = True
            idle, leased = [*self._idle.values()], [*self._leased]
            self._leased.update(idle)
            self._idle.clear()
            for process in self._leased:
                process.hurry()
            self._changed.notify_all()
        ends = [threading.Thread(target=self.discard, args=(each,), daemon=True) for each in idle]
        # Whoever leased one gives it back when its turn has ended, and frees the slot.
        ends += [threading.Thread(target=each.end, daemon=True) for each in leased]
        for end in ends:
            end.start()
        for end in ends:
            end.join(CLOSE_TIMEOUT)
        with self._changed:
            self._changed.wait_for(lambda: self._taken == 0, CLOSE_TIMEOUT)
        if self._reaper is not None:
            self._reaper.join(1.0)
        sweep.sweep_own()
        self._starter.close()


def limit_by_memory() -> int:
    """How many processes fit: what is free but 2 GiB, at 350 MiB each; 2 at least, 64 at most."""
    free = min(
        (found for found in (_machine_free(), _cgroup_free()) if found is not None), default=0
    )
    return max(2, min(64, (free - RESERVED_BYTES) // PROCESS_BYTES))


def _machine_free() -> int | None:
    """Bytes that the machine can still give."""
    try:
        meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
        return next(
            int(line.split()[1]) * 1024
            for line in meminfo.splitlines()
            if line.startswith("MemAvail")
        )
    except (OSError, StopIteration, ValueError):
        return None


def _cgroup_free() -> int | None:
    """Bytes that our container can still give; None where it sets no limit."""
    try:
        group = Path("/proc/self/cgroup").read_text(encoding="ascii").rpartition("::")[2].strip()
        folder = Path("/sys/fs/cgroup") / group.lstrip("/")
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = (folder / "memory.current").read_text(encoding="ascii").strip()
        return int(limit) - int(used)
    except (OSError, ValueError):
        return None
