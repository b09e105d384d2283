"""A keyed serial executor: a project runs one turn at a time, the others wait in its queue.

The CLI has no lock of its own, and two writers to one session lose turns without an error.
A busy project has a thread, which runs its turns in order until none is left.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from cowork.errors import AtCapacity, CoworkError, ProjectBusy, QueueFull, ShuttingDown
from cowork.log import logger
from cowork.model import Project
from cowork.runtime.thread_pool import CachedThreadPool
from cowork.turns.outcome import internal_error
from cowork.turns.turn import Turn

log = logger(__name__)

OnBusy = Literal["queue", "reject", "interrupt"]


@dataclass(slots=True)
class _ProjectQueue:
    running: Turn | None = None
    following: Turn | None = None
    waiting: deque[Turn] = field(default_factory=deque)
    reserved: list[Turn] = field(default_factory=list)

    def count_waiting(self) -> int:
        return len(self.waiting) + len(self.reserved)

    def all(self) -> list[Turn]:
        first = [each for each in (self.running, self.following) if each is not None]
        return [*first, *self.waiting, *self.reserved]

    def answering(self) -> Turn | None:
        """The turn that is not over; one that follows is what the CLI is at by now."""
        turns = (self.following, self.running)
        return next((each for each in turns if each is not None and each.done is None), None)


@dataclass(frozen=True, slots=True)
class Place:
    """A turn's place in its project's queue; `behind` is the turn that ran when it was reserved.

    `first` says that the turn goes before those that wait.
    """

    turn: Turn
    queue: _ProjectQueue
    behind: Turn | None = None
    first: bool = False


class ProjectQueues:
    """The queues of all busy projects.

    `run` runs a turn to its end; `on_cancelled` ends a turn that was stopped while it waited and
    has left its queue.  Neither should raise: one whose `run` or `on_cancelled` does is ended here.
    Whatever fails, an accepted turn ends and its queue goes on.
    """

    def __init__(
        self, *, limit: int, run: Callable[[Turn], None], on_cancelled: Callable[[Turn], None]
    ) -> None:
        self._limit = limit
        self._run_turn = run
        self._on_cancelled = on_cancelled
        self._lock = threading.Lock()
        self._queues: dict[Project, _ProjectQueue] = {}
        self._is_closed = False
        self._threads = CachedThreadPool("queue")

    def reserve(self, turn: Turn, on_busy: OnBusy) -> Place:
        """A place for a turn that is not accepted yet; `start` or `withdraw` has to follow.

        A project that is not busy begins with it; in a busy one it waits.
        Raises `ShuttingDown`, `ProjectBusy` (`reject`) and `QueueFull`.
        """
        with self._lock:
            self.check_accepting()
            queue = self._queues.get(turn.project)
            if queue is None:
                turn.begin()
                queue = self._queues[turn.project] = _ProjectQueue(running=turn)
                return Place(turn, queue)
            # One that has ended, and whose process is still being put away, is not before anyone.
            behind = queue.answering()
            self._check_not_full(queue, on_busy, is_answering=behind is not None)
            waiting = queue.count_waiting() if on_busy != "interrupt" else 0
            turn.set_queue_position(waiting + (behind is not None))
            queue.reserved.append(turn)
            return Place(turn, queue, behind, first=on_busy == "interrupt")

    def adopt(self, turn: Turn) -> Place:
        """A place for a turn that another process has begun: before those that wait here."""
        with self._lock:
            self.check_accepting()
            queue = self._queues.get(turn.project)
            if queue is None:
                queue = self._queues[turn.project] = _ProjectQueue(running=turn)
                return Place(turn, queue)
            queue.reserved.append(turn)
            return Place(turn, queue, first=True)

    def follow(self, before: Turn, turn: Turn) -> None:
        """A turn that is the project's next, right behind one that is about to end.

        It has begun.  Raises `ShuttingDown`.
        """
        with self._lock:
            self.check_accepting()
            turn.begin()
            self._queues[before.project].following = turn

    def unfollow(self, turn: Turn) -> None:
        """It was not accepted."""
        with self._lock:
            self._queues[turn.project].following = None

    def _check_not_full(self, queue: _ProjectQueue, on_busy: OnBusy, *, is_answering: bool) -> None:
        waiting = queue.count_waiting()
        if on_busy == "reject" and (waiting or is_answering):
            raise ProjectBusy("the project is answering another question")
        if waiting >= max(self._limit, 0 if is_answering else 1):
            raise QueueFull(f"the project has {waiting} questions waiting already", retry_after=5)

    def withdraw(self, place: Place) -> None:
        """Give up the place of a turn that was not accepted, and start the next one if it ran."""
        queue, turn = place.queue, place.turn
        with self._lock:
            for turns in (queue.reserved, queue.waiting):
                if turn in turns:
                    turns.remove(turn)
                    self._remove_if_empty(queue, turn.project)
        if queue.running is turn:
            following = self._advance(queue, turn.project)
            if following is not None:
                self._start_thread(queue)

    def start(self, place: Place) -> None:
        """Run an accepted turn, or let it wait; it ends as turns do, whatever happens."""
        try:
            self._start_or_wait(place)
        except Exception:
            log.exception("could not start a turn", turn_id=place.turn.id)
            self._end(place.turn, internal_error())
            self.withdraw(place)

    def _start_or_wait(self, place: Place) -> None:
        queue, turn = place.queue, place.turn
        if queue.running is not turn:
            with self._lock:
                queue.reserved.remove(turn)
                if queue.running is not None or queue.waiting:
                    cancel = self._enqueue(queue, turn, first=place.first)
                else:
                    cancel, queue.running = None, turn
            if cancel is not None:
                if turn.stop_reason is not None:
                    cancel()
                return
            turn.begin()
        self._start_thread(queue)

    def _end(self, turn: Turn, reason: CoworkError) -> None:
        """End a turn that nobody takes, or whose taking broke."""
        turn.stop(reason)
        self._finish_cancelled(turn)

    def _finish_cancelled(self, turn: Turn) -> None:
        try:
            self._on_cancelled(turn)
        except Exception:
            log.exception("could not finish a cancelled turn", turn_id=turn.id)
            turn.fail(turn.stop_reason or internal_error())

    def _enqueue(self, queue: _ProjectQueue, turn: Turn, *, first: bool) -> Callable[[], None]:
        """Let the turn wait, so that it leaves when it is stopped; the caller holds the lock.

        One that was stopped before is to be told to leave by the caller, without the lock.
        """
        waits = False

        def cancel() -> None:
            if waits:
                self._cancel_waiting(queue, turn)

        turn.on_stop(cancel)
        if first:
            queue.waiting.appendleft(turn)
        else:
            queue.waiting.append(turn)
        waits = True
        return cancel

    def _start_thread(self, queue: _ProjectQueue) -> None:
        """Run the queue's turns in a thread; where none can be started, they fail."""
        try:
            self._threads.run(lambda: self._run(queue))
        except Exception:
            log.exception("could not start a thread for a project's turns")
            turn = queue.running
            while turn is not None:
                self._end(
                    turn, AtCapacity("the server cannot start a thread for the turn", retry_after=5)
                )
                turn = self._advance(queue, turn.project)

    def _remove_if_empty(self, queue: _ProjectQueue, project: Project) -> None:
        if not queue.all():
            del self._queues[project]

    def _cancel_waiting(self, queue: _ProjectQueue, turn: Turn) -> None:
        with self._lock:
            if turn not in queue.waiting:
                return
            queue.waiting.remove(turn)
            _report_positions(queue)
        self._finish_cancelled(turn)

    def _run(self, queue: _ProjectQueue) -> None:
        turn = queue.running
        while turn is not None:
            project = turn.project
            try:
                if turn.started_monotonic is None:
                    turn.begin()
                self._run_turn(turn)
            except BaseException:
                # The thread must live: it is the only one that runs what waits behind.
                log.exception("unhandled exception in a project's queue", turn_id=turn.id)
                self._end(turn, internal_error())
            turn = self._advance(queue, project)

    def _advance(self, queue: _ProjectQueue, project: Project) -> Turn | None:
        with self._lock:
            turn, queue.following = queue.following, None
            if turn is None and queue.waiting:
                turn = queue.waiting.popleft()
            queue.running = turn
            self._remove_if_empty(queue, project)
            _report_positions(queue)
            return turn

    def running(self, project: Project) -> Turn | None:
        """The turn that the project is answering now."""
        with self._lock:
            queue = self._queues.get(project)
            return queue.answering() if queue is not None else None

    def turns_of(self, project: Project) -> list[Turn]:
        """The project's turns, the one that runs first."""
        with self._lock:
            queue = self._queues.get(project)
            return queue.all() if queue is not None else []

    def all(self) -> list[Turn]:
        """Every turn that runs or waits."""
        with self._lock:
            return [turn for queue in self._queues.values() for turn in queue.all()]

    def check_accepting(self) -> None:
        """Raise `ShuttingDown` where no turn is let in any more."""
        if self._is_closed:
            raise ShuttingDown("the server is shutting down", retry_after=5)

    def close(self) -> None:
        """Let no turn in from now on."""
        with self._lock:
            self._is_closed = True
        self._threads.close()


def _report_positions(queue: _ProjectQueue) -> None:
    for ahead, turn in enumerate(queue.waiting, 1):
        try:
            turn.report_queue_position(ahead)
        except Exception:
            # It waits as before.
            log.exception("could not report a turn's queue position", turn_id=turn.id)
