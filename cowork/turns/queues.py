"""Each project answers one question at a time: its lane is the turn that runs and those that wait.

The CLI has no lock of its own, and two writers to one session lose turns without an error.
A busy lane has a thread, which takes its turns in order until there are none left.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from cowork.errors import AtCapacity, CoworkError, ProjectBusy, QueueFull, ShuttingDown
from cowork.events import Done
from cowork.log import logger
from cowork.model import Project
from cowork.runtime.threads import Threads
from cowork.turns.turn import Turn, internal_error

log = logger(__name__)

OnBusy = Literal["queue", "reject", "interrupt"]


@dataclass(slots=True)
class _ProjectQueue:
    running: Turn | None = None
    waiting: deque[Turn] = field(default_factory=deque)
    arriving: list[Turn] = field(default_factory=list)


class ProjectQueues:
    """All busy projects.

    `take` runs a turn to its end; `left` is called with a turn that was stopped while it waited,
    when it is no longer in the way, and ends it.  Neither should raise: a turn whose `take` or
    `left` does is ended here.  Whatever breaks, an accepted turn ends and its lane goes on.
    """

    def __init__(
        self, *, limit: int, take: Callable[[Turn], None], left: Callable[[Turn], None]
    ) -> None:
        self._limit = limit
        self._take = take
        self._left = left
        self._lock = threading.Lock()
        self._lanes: dict[Project, _ProjectQueue] = {}
        self._shut = False
        self._threads = Threads("lane")

    def enter(
        self, turn: Turn, on_busy: OnBusy, accept: Callable[[Turn], None] = lambda _: None
    ) -> Turn | None:
        """Begin the turn, or let it wait; gives the turn that runs before it, if there is one.

        `accept` is called when the turn has its place and nothing has begun; it may wait.
        Raises `ShuttingDown`, `ProjectBusy` (`reject`), `QueueFull` and what `accept` raises, in
        which case the turn is not let in.
        """
        with self._lock:
            self.check_open()
            lane = self._lanes.get(turn.project)
            before = None
            if lane is None:
                turn.begin()
                lane = self._lanes[turn.project] = _ProjectQueue(running=turn)
            else:
                before = self._arrive(lane, turn, on_busy)
        try:
            accept(turn)
        except BaseException:
            self._give_up(lane, turn)
            raise
        # From here on the turn has been promised: it ends as turns do, whatever happens.
        try:
            self._begin(lane, turn, on_busy)
        except Exception:
            log.exception("a turn could not begin", turn_id=turn.id)
            self._end(turn, internal_error())
            self._give_up(lane, turn)
        return before

    def _arrive(self, lane: _ProjectQueue, turn: Turn, on_busy: OnBusy) -> Turn | None:
        """Keep a place for a turn that is not accepted yet."""
        # A turn that has ended, but whose process is still being put away, is not ahead of anyone.
        before = lane.running if lane.running is not None and lane.running.done is None else None
        waiting = len(lane.waiting) + len(lane.arriving)
        ahead = waiting + (before is not None)
        if on_busy == "reject" and ahead:
            raise ProjectBusy("the project is answering another question")
        if waiting >= max(self._limit, 1 if before is None else 0):
            raise QueueFull(f"the project has {waiting} questions waiting already", retry_after=5)
        turn.queue_position = int(before is not None) if on_busy == "interrupt" else ahead
        turn.report_queue_position(turn.queue_position)
        lane.arriving.append(turn)
        return before

    def _begin(self, lane: _ProjectQueue, turn: Turn, on_busy: OnBusy) -> None:
        """An accepted turn waits in its lane, or runs, where nothing does any more."""
        if lane.running is not turn:
            with self._lock:
                lane.arriving.remove(turn)
                if lane.running is not None or lane.waiting:
                    leave = self._await(lane, turn, first=on_busy == "interrupt")
                else:
                    leave, lane.running = None, turn
            if leave is not None:
                if turn.stop_reason is not None:
                    leave()
                return
            turn.begin()
        self._start(lane)

    def _end(self, turn: Turn, reason: CoworkError) -> None:
        """End a turn that nobody takes, or whose taking broke."""
        turn.stop(reason)
        self._let_go(turn)

    def _let_go(self, turn: Turn) -> None:
        try:
            self._left(turn)
        except Exception:
            log.exception("a turn could not be ended", turn_id=turn.id)
            turn.finish(Done(success=False, message=""), turn.stop_reason)

    def _await(self, lane: _ProjectQueue, turn: Turn, *, first: bool) -> Callable[[], None]:
        """Let the turn wait, so that it leaves when it is stopped; the caller holds the lock.

        One that was stopped before is to be told to leave by the caller, without the lock.
        """
        waits = False

        def leave() -> None:
            if waits:
                self._leave(lane, turn)

        turn.on_stop(leave)
        if first:
            lane.waiting.appendleft(turn)
        else:
            lane.waiting.append(turn)
        waits = True
        return leave

    def _start(self, lane: _ProjectQueue) -> None:
        """Take the lane's turns in a thread; where there is none, they end without being asked."""
        try:
            self._threads.run(lambda: self._run(lane))
        except Exception:
            log.exception("no thread could be started for a project's turns")
            turn = lane.running
            while turn is not None:
                self._end(turn, AtCapacity("the server has no thread for a turn", retry_after=5))
                turn = self._advance(lane, turn.project)

    def _give_up(self, lane: _ProjectQueue, turn: Turn) -> None:
        """The turn does not come after all; those behind it need not wait for it."""
        with self._lock:
            for place in (lane.arriving, lane.waiting):
                if turn in place:
                    place.remove(turn)
                    self._remove_if_empty(lane, turn.project)
        if lane.running is turn:
            following = self._advance(lane, turn.project)
            if following is not None:
                self._start(lane)

    def _remove_if_empty(self, lane: _ProjectQueue, project: Project) -> None:
        if not _all(lane):
            del self._lanes[project]

    def _leave(self, lane: _ProjectQueue, turn: Turn) -> None:
        with self._lock:
            if turn not in lane.waiting:
                return
            lane.waiting.remove(turn)
            _tell_positions(lane)
        self._let_go(turn)

    def _run(self, lane: _ProjectQueue) -> None:
        turn = lane.running
        while turn is not None:
            project = turn.project
            try:
                if turn.started_monotonic is None:
                    turn.begin()
                self._take(turn)
            except BaseException:
                # The thread has to live: it is the only one that takes what waits behind.
                log.exception("taking a turn failed", turn_id=turn.id)
                self._end(turn, internal_error())
            turn = self._advance(lane, project)

    def _advance(self, lane: _ProjectQueue, project: Project) -> Turn | None:
        with self._lock:
            turn = lane.running = lane.waiting.popleft() if lane.waiting else None
            self._remove_if_empty(lane, project)
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

    def check_open(self) -> None:
        """Raise `ShuttingDown` where no turn is let in any more."""
        if self._shut:
            raise ShuttingDown("the server is shutting down", retry_after=5)

    def shut(self) -> None:
        """Let no turn in from now on."""
        with self._lock:
            self._shut = True
        self._threads.close()


def _all(lane: _ProjectQueue) -> list[Turn]:
    running = [lane.running] if lane.running is not None else []
    return [*running, *lane.waiting, *lane.arriving]


def _tell_positions(lane: _ProjectQueue) -> None:
    for ahead, turn in enumerate(lane.waiting, 1):
        try:
            turn.report_queue_position(ahead)
        except Exception:
            # It waits as before, and does not know for how many.
            log.exception("a waiting turn could not be told its position", turn_id=turn.id)
