"""The pool's slots: how many processes there may be, what each is for, and which goes first.

A slot is one process, from before it is started until nothing of it is left.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cowork.claude.needs import DEFAULT, Needs
from cowork.claude.process import ClaudeProcess
from cowork.stores.base import Project


class State(StrEnum):
    """What a slot's process is doing."""

    STARTING = "starting"
    SPARE = "spare"
    IDLE = "idle"
    BUSY = "busy"
    ENDING = "ending"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The process that somebody needs; `session_id` is None for a session that is yet to begin.

    `turns` is how many the session has had, or None where that does not matter.
    """

    project: Project | None
    cwd: str
    session_id: str | None = None
    needs: Needs = DEFAULT
    turns: int | None = None

    @property
    def suits_spare(self) -> bool:
        """Whether a process that was started for nobody would do."""
        new = self.project is not None and self.session_id is None
        return new and self.needs == DEFAULT


@dataclass(frozen=True, slots=True)
class Resident:
    """A process as it stands.

    `age` and `idle` are seconds, since its start and since it was last used (None: it never was);
    `memory` is bytes, its descendants' included, or None where that cannot be read.
    """

    pid: int
    project: Project | None
    state: State
    age: float
    turns: int
    memory: int | None
    idle: float | None


@dataclass(eq=False, slots=True)
class Slot:
    """A process and whom it is for.

    `unwanted` means that it is not kept when its turn is over.  `knows` is how many turns its
    session had when it last heard of it: with more of them, another server of the same store has
    gone on with the session, and what this one would add is lost.  `memory` (bytes) was measured at
    `measured` (monotonic), when the process had served `measured_turns`.
    """

    state: State
    wanted: Wanted
    process: ClaudeProcess | None = None
    unwanted: bool = False
    knows: int | None = None
    memory: int | None = None
    measured: float = float("-inf")
    measured_turns: int = 0

    @property
    def project(self) -> Project | None:
        return self.wanted.project

    def hold(self, process: ClaudeProcess) -> None:
        """The slot's process exists; it is not ready yet."""
        self.process = process

    def fits(self, wanted: Wanted) -> bool:
        """Whether its process can take that on."""
        if self.process is None or self.wanted.needs != wanted.needs:
            return False
        if self.state == State.SPARE:
            return wanted.suits_spare and self.wanted.cwd == wanted.cwd
        if wanted.session_id is not None:
            current = None in (wanted.turns, self.knows) or wanted.turns == self.knows
            return current and self.process.session_id == wanted.session_id
        return self.is_readied and self.wanted.cwd == wanted.cwd

    @property
    def is_readied(self) -> bool:
        """Whether it waits for its project's first question."""
        asked = self.process is not None and self.process.turns > 0
        return not asked and self.wanted.session_id is None

    def resident(self) -> Resident | None:
        """What can be said of its process, if there is one."""
        process, now = self.process, time.monotonic()
        if process is None:
            return None
        return Resident(
            pid=process.pid,
            project=self.project,
            state=self.state,
            age=now - process.started,
            turns=process.turns,
            memory=self.memory,
            idle=now - process.last_used if process.turns else None,
        )

    def is_of(self, session_id: str | None) -> bool:
        """Whether its process speaks for that session."""
        return self.process is not None and self.process.session_id == session_id

    @property
    def usable(self) -> bool:
        """Whether its process lives, in a directory that is still there."""
        if self.process is None or not self.process.alive:
            return False
        return self.process.turns > 0 or _is_in(self.process.pid, self.wanted.cwd)


def _is_in(pid: int, cwd: str) -> bool:
    """Whether a process is in the directory of that name, not in one that was removed since."""
    here = Path(f"/proc/{pid}/cwd")
    try:
        return not here.is_symlink() or here.samefile(cwd)
    except OSError:
        return False


class Slots:
    """All slots, at most `limit`; whoever calls holds `changed`, but for `end`.

    `crowd` is how many wait for a slot and could not use a spare; `stirred` is set when there may
    be a spare to start.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.changed = threading.Condition()
        self.stirred = threading.Event()
        self.closed = False
        self.crowd = 0
        self._slots: dict[Slot, None] = {}
        # The same by project, so that a turn need not look at everybody's; None is nobody's yet.
        self._of: dict[Project | None, dict[Slot, None]] = {}

    def __iter__(self) -> Iterator[Slot]:
        return iter(list(self._slots))

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def room(self) -> bool:
        return len(self._slots) < self.limit

    def add(self, wanted: Wanted) -> Slot:
        """A new slot, for a process that will be started."""
        slot = Slot(State.STARTING, wanted)
        self._slots[slot] = None
        self._of.setdefault(slot.project, {})[slot] = None
        return slot

    def free(self, slot: Slot) -> None:
        """Nothing is left of the slot's process."""
        if slot in self._slots:
            del self._slots[slot]
            self._give_up(slot)
        self.changed.notify_all()
        self.stirred.set()

    def _give_up(self, slot: Slot) -> None:
        """The slot is not its project's any more."""
        mine = self._of[slot.project]
        del mine[slot]
        if not mine:
            del self._of[slot.project]

    def _theirs(self, project: Project | None) -> Iterable[Slot]:
        return self._of.get(project, ())

    def begun(self, slot: Slot, state: State) -> None:
        """The slot's process is ready, for a turn or as a spare."""
        slot.state = state
        self.changed.notify_all()
        self.stirred.set()

    def end(self, slot: Slot) -> None:
        """End the process of a slot that was marked as ending; takes as long as its ladder."""
        try:
            if slot.process is not None:
                slot.process.end()
        finally:
            with self.changed:
                self.free(slot)

    def of(self, process: ClaudeProcess) -> Slot | None:
        return next((slot for slot in self._slots if slot.process is process), None)

    def is_held(self, wanted: Wanted) -> bool:
        """Whether the project is being readied, or the session's former process still ends.

        Another process now would be a second writer to the session, or a second new session.
        """
        return any(self._holds(slot, wanted) for slot in self._theirs(wanted.project))

    @staticmethod
    def _holds(slot: Slot, wanted: Wanted) -> bool:
        if slot.state == State.ENDING:
            return slot.is_of(wanted.session_id)
        return wanted.project is not None and slot.state in (State.STARTING, State.BUSY)

    def take(self, wanted: Wanted) -> Slot | None:
        """A slot whose process fits, now busy; None where there is none."""
        for slot in self._theirs(wanted.project):
            if slot.state == State.IDLE and slot.fits(wanted) and slot.usable:
                slot.state, slot.wanted = State.BUSY, wanted
                return slot
        for slot in self._theirs(None):
            if slot.state == State.SPARE and slot.fits(wanted) and slot.usable:
                self._give_up(slot)
                slot.state, slot.wanted = State.BUSY, wanted
                self._of.setdefault(slot.project, {})[slot] = None
                self.stirred.set()
                return slot
        return None

    def in_the_way(self, wanted: Wanted) -> Slot | None:
        """An idle process of the project that is of no use to it any more, now ending."""
        mine = () if wanted.project is None else self._theirs(wanted.project)
        idle = (slot for slot in mine if slot.state == State.IDLE)
        return self.ending(next((slot for slot in idle if _is_useless(slot, wanted)), None))

    def least_needed(self) -> Slot | None:
        """The process that makes room, now ending: a spare, or the one idle for longest."""
        spare = next((slot for slot in self._slots if slot.state == State.SPARE), None)
        idle = (slot for slot in self._slots if slot.state == State.IDLE)
        return self.ending(spare or min(idle, key=_last_used, default=None))

    @staticmethod
    def ending(slot: Slot | None) -> Slot | None:
        """Mark a slot as one whose process is being ended; whoever calls ends it."""
        if slot is not None:
            slot.state = State.ENDING
        return slot

    def counts(self) -> dict[str, int]:
        """How many processes there are by state, those that end among the busy, and the limit."""
        found = Counter(slot.state for slot in self._slots)
        return {
            "busy": found[State.BUSY] + found[State.ENDING],
            "idle": found[State.IDLE],
            "spare": found[State.SPARE],
            "starting": found[State.STARTING],
            "limit": self.limit,
        }


def _is_useless(slot: Slot, wanted: Wanted) -> bool:
    if wanted.session_id is not None and slot.is_readied and slot.usable:
        return False  # the session may turn out to be lost
    return not (slot.fits(wanted) and slot.usable)


def _last_used(slot: Slot) -> float:
    return slot.process.last_used if slot.process is not None else 0.0
