"""One slot of the pool: a process, from before it is started until nothing of it is left.

`LeaseRequest` is what somebody needs, `Waiter` whoever waits for it.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from enum import StrEnum

from cowork.claude.launch_options import DEFAULT, LaunchOptions
from cowork.claude.process.continuation import Continuation
from cowork.claude.process.process import ClaudeProcess
from cowork.model import Project


class SlotState(StrEnum):
    """What a slot's process is doing."""

    STARTING = "starting"
    SPARE = "spare"
    IDLE = "idle"
    BUSY = "busy"
    ENDING = "ending"


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """The process that somebody needs; `session_id` is None for a session that is yet to begin.

    `turns` is how many the session has had, or None where that does not matter.  `model` is what
    one that has to be started is started with.  A `continuation` is for a new process alone.
    """

    project: Project | None
    cwd: str
    session_id: str | None = None
    options: LaunchOptions = DEFAULT
    turns: int | None = None
    model: str | None = None
    continuation: Continuation | None = None

    @property
    def owner(self) -> str | None:
        """Whose process it will be; None where it is nobody's, as a spare."""
        return self.project.owner if self.project is not None else None

    @property
    def begins_session(self) -> bool:
        """Whether a process that was started for nobody would do, with the same options."""
        return self.project is not None and self.session_id is None


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """A process as it stands.

    `age` and `idle` are seconds, since its start and since it was last used (None: it never was);
    `memory` is bytes, its descendants' included, or None where that cannot be read.
    """

    pid: int
    project: Project | None
    state: SlotState
    age: float
    turns: int
    memory: int | None
    idle: float | None
    id: str = ""


@dataclass(frozen=True, slots=True)
class PoolCounts:
    """How many processes there are by state, those that end among the busy; and the limit."""

    busy: int
    idle: int
    spare: int
    starting: int
    limit: int


@dataclass(frozen=True, slots=True)
class PoolLoad:
    """How many processes there are, of how many projects, and for how long one has been idle."""

    counts: PoolCounts
    projects: int
    idle_s: float


@dataclass(eq=False, slots=True)
class Slot:
    """A process and whom it is for.

    `discard_on_return` means that it is not used for another turn, nor kept.  `known_turns` is the
    session's turn count when this process last ran one: if the store has more, another server has
    continued the session and this process is stale.  `memory` (bytes) was measured at
    `measured` (monotonic), when the process had served `measured_turns`.  `place` is the directory
    that the process is in, once it was looked at: it stays there, and as long as somebody is in a
    directory no other one gets its number.  `end_why` is why its process is to end: `CLI_ENDS` of
    the metrics has the words.
    """

    state: SlotState
    wanted: LeaseRequest
    process: ClaudeProcess | None = None
    discard_on_return: bool = False
    is_admitted: bool = False
    known_turns: int | None = None
    memory: int | None = None
    measured: float = float("-inf")
    measured_turns: int = 0
    place: os.stat_result | None = None
    end_why: str = ""

    @property
    def project(self) -> Project | None:
        return self.wanted.project

    def attach(self, process: ClaudeProcess) -> None:
        """The slot's process exists; it is not ready yet."""
        self.process, self.place = process, None

    def fits(self, wanted: LeaseRequest) -> bool:
        """Whether its process can take that on."""
        if self.process is None or self.wanted.options != wanted.options:
            return False
        if wanted.continuation is not None:
            return False
        if self.state == SlotState.SPARE:
            return wanted.begins_session and self.wanted.cwd == wanted.cwd
        if wanted.session_id is not None:
            current = None in (wanted.turns, self.known_turns) or wanted.turns == self.known_turns
            return current and self.process.session_id == wanted.session_id
        return self.is_prewarmed and self.wanted.cwd == wanted.cwd

    @property
    def is_prewarmed(self) -> bool:
        """Whether it waits for its project's first question."""
        asked = self.process is not None and self.process.turns > 0
        return not asked and self.wanted.session_id is None

    def info(self) -> ProcessInfo | None:
        """What can be said of its process, if there is one."""
        process, now = self.process, time.monotonic()
        if process is None:
            return None
        return ProcessInfo(
            pid=process.pid,
            project=self.project,
            state=self.state,
            age=now - process.started,
            turns=process.turns,
            memory=self.memory,
            idle=now - process.last_used if process.turns else None,
            id=process.id,
        )

    def is_of(self, session_id: str | None) -> bool:
        """Whether its process speaks for that session."""
        return self.process is not None and self.process.session_id == session_id

    @property
    def usable(self) -> bool:
        """Whether its process is wanted and lives, in a directory that is still there."""
        if self.discard_on_return or self.process is None or not self.process.alive:
            return False
        return self._is_in_place(self.process.pid)

    def _is_in_place(self, pid: int) -> bool:
        """Whether it is in the directory of that name, not in one that was removed since."""
        try:  # with each turn; os.stat takes a fifth of what Path does
            self.place = self.place or os.stat(f"/proc/{pid}/cwd")  # noqa: PTH116
        except OSError:
            # It is gone, or another user's, or there is no /proc: only the name can tell.
            return os.path.isdir(self.wanted.cwd)  # noqa: PTH112 - unlike Path's it never raises
        try:
            return os.path.samestat(self.place, os.stat(self.wanted.cwd))  # noqa: PTH116
        except OSError:
            return False


@dataclass(eq=False, slots=True)
class Waiter:
    """Somebody who needs a process: it has its `slot`, or a `victim` to end for one, or waits.

    `woken`, which only who is not served at once has, is set when there is something new for it.
    While it is `held` no slot would do: its project's or its session's own process is in the way.
    """

    wanted: LeaseRequest
    number: int
    woken: threading.Event | None = None
    slot: Slot | None = None
    victim: Slot | None = None
    held: bool = False
    queued: bool = False

    @property
    def owner(self) -> str | None:
        return self.wanted.owner

    def get(self, slot: Slot) -> None:
        """The slot is its own from now on."""
        self.slot = slot
        self.wake()

    def make_room(self, victim: Slot) -> None:
        """It is to end that process, and then has a slot."""
        self.victim = victim
        self.wake()

    def wake(self) -> None:
        """Wake it, if it waits."""
        if self.woken is not None:
            self.woken.set()
