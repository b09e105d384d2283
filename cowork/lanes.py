"""Each project answers one question at a time: its lane is the turn that runs and those that wait.

The CLI has no lock of its own, and two writers to one session lose turns without an error.
A busy lane has a thread, which takes its turns in order and ends when there are none left.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from cowork.errors import ProjectBusy, QueueFull, ShuttingDown
from cowork.stores.base import Project
from cowork.turns import Turn

OnBusy = Literal["queue", "reject", "interrupt"]


@dataclass(slots=True)
class _Lane:
    running: Turn | None = None
    waiting: deque[Turn] = field(default_factory=deque)


class Lanes:
    """All busy projects.

    `take` runs a turn to its end, and must not raise; `left` is called with a turn that was
    stopped while it waited, when it is no longer in the way.
    """

    def __init__(
        self, *, limit: int, take: Callable[[Turn], None], left: Callable[[Turn], None]
    ) -> None:
        self._limit = limit
        self._take = take
        self._left = left
        self._lock = threading.Lock()
        self._lanes: dict[Project, _Lane] = {}
        self._shut = False

    def enter(self, turn: Turn, on_busy: OnBusy) -> Turn | None:
        """Begin the turn, or let it wait; never waits itself.

        Gives the turn that runs before it, if there is one.
        Raises `ShuttingDown`, `ProjectBusy` (`reject`) and `QueueFull`.
        """
        with self._lock:
            if self._shut:
                raise ShuttingDown("the server is shutting down", retry_after=5)
            lane = self._lanes.get(turn.project)
            if lane is not None:
                return self._queue(lane, turn, on_busy)
            lane = self._lanes[turn.project] = _Lane(running=turn)
        turn.begin()
        try:
            threading.Thread(target=self._run, args=(lane,), name="lane", daemon=True).start()
        except RuntimeError:  # no thread can be started
            with self._lock:
                del self._lanes[turn.project]
            raise
        return None

    def _queue(self, lane: _Lane, turn: Turn, on_busy: OnBusy) -> Turn | None:
        # A turn that has ended, but whose process is still being put away, is not ahead of anyone.
        before = lane.running if lane.running is not None and lane.running.done is None else None
        running = before is not None
        ahead = len(lane.waiting) + (1 if running else 0)
        if on_busy == "reject" and ahead:
            raise ProjectBusy("the project is answering another question")
        if len(lane.waiting) >= max(self._limit, 0 if running else 1):
            raise QueueFull(
                f"the project has {len(lane.waiting)} questions waiting already", retry_after=5
            )
        first = on_busy == "interrupt"
        turn.ahead = int(running) if first else ahead
        # While nobody else sees the turn: once it waits, anyone may stop it.
        turn.queued_behind(turn.ahead)
        turn.on_stop(lambda: self._leave(lane, turn))
        if first:
            lane.waiting.appendleft(turn)
        else:
            lane.waiting.append(turn)
        return before

    def _leave(self, lane: _Lane, turn: Turn) -> None:
        with self._lock:
            if turn not in lane.waiting:
                return
            lane.waiting.remove(turn)
            _tell_positions(lane)
        self._left(turn)

    def _run(self, lane: _Lane) -> None:
        turn = lane.running
        while turn is not None:
            project = turn.project
            try:
                self._take(turn)
            finally:
                turn = self._advance(lane, project)
            if turn is not None:
                turn.begin()

    def _advance(self, lane: _Lane, project: Project) -> Turn | None:
        with self._lock:
            turn = lane.running = lane.waiting.popleft() if lane.waiting else None
            if turn is None:
                del self._lanes[project]
            _tell_positions(lane)
            return turn

    def running(self, project: Project) -> Turn | None:
        """The turn that the project is answering now."""
        with self._lock:
            lane = self._lanes.get(project)
            turn = lane.running if lane is not None else None
        return turn if turn is not None and turn.done is None else None

    def of(self, project: Project) -> list[Turn]:
        """The project's turns, the one that runs first."""
        with self._lock:
            lane = self._lanes.get(project)
            return _all(lane) if lane is not None else []

    def all(self) -> list[Turn]:
        """Every turn that runs or waits."""
        with self._lock:
            return [turn for lane in self._lanes.values() for turn in _all(lane)]

    def shut(self) -> None:
        """Let no turn in from now on."""
        with self._lock:
            self._shut = True


def _all(lane: _Lane) -> list[Turn]:
    return [*([lane.running] if lane.running is not None else []), *lane.waiting]


def _tell_positions(lane: _Lane) -> None:
    for ahead, turn in enumerate(lane.waiting, 1):
        turn.queued_behind(ahead)
