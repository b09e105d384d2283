"""A turn and its log: one question, everything that was said until its end, and who reads it.

An HTTP reply, streaming or not, is only a reader of the log.  Reading never takes anything out,
so any number of readers may come, go and come back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from uuid import uuid4

from cowork.errors import CoworkError, ShuttingDown, TurnInterrupted
from cowork.events import Done, Event, Failed, Status
from cowork.stores.base import Project


class State(StrEnum):
    """Where a turn is; the last three are for good."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Question:
    """What a client asks.

    `skill` is the CLI's name of a skill or None.  `streaming` decides what the time limit bounds:
    the whole turn, or the silence in it.
    """

    text: str
    user_id: str | None = None
    message_type: str | None = None
    skill: str | None = None
    streaming: bool = False


class Turn:
    """One question's turn.  Event n of the log (from 1) is what readers call frame n.

    `ahead` is how many turns of its project were before it when it was asked.
    `done` is set with the last event; `error` says why a turn did not succeed.  Every method may
    be called from any thread.
    """

    def __init__(self, project: Project, question: Question) -> None:
        self.id = str(uuid4())
        self.project = project
        self.question = question
        self.created = datetime.now(UTC)
        self.begun: float | None = None
        self.state = State.QUEUED
        self.done: Done | None = None
        self.error: CoworkError | None = None
        self.session_id: str | None = None
        self.is_new_session = False
        self.session_recovered = False
        self.ahead = 0
        self.stop_reason: CoworkError | None = None
        self._log: list[Event] = []
        self._changed = threading.Condition()
        self._on_stop: Callable[[], None] | None = None

    # -- writing, by whoever runs the turn

    def begin(self) -> None:
        """The turn's own time begins: nothing of its project is before it any more."""
        with self._changed:
            self.state = State.RUNNING
            self.begun = time.monotonic()
            self._changed.notify_all()

    def append(self, events: list[Event]) -> None:
        """Add to the log; what comes after the end is dropped."""
        with self._changed:
            if self.done is None:
                self._log += events
                self._changed.notify_all()

    def finish(self, done: Done, error: CoworkError | None = None) -> bool:
        """End the turn; False, and nothing changed, if it had ended before."""
        with self._changed:
            if self.done is not None:
                return False
            if error is not None:
                self._log.append(Failed(error.code, error.message, _facts(error)))
            self._log.append(done)
            self.state = _end_state(error)
            self.error, self.done = error, done
            self._on_stop = None
            self._changed.notify_all()
            return True

    # -- stopping, by anyone

    def stop(self, reason: CoworkError) -> bool:
        """Ask for the turn's end; the first reason counts.  False when it had ended before."""
        with self._changed:
            if self.done is not None:
                return False
            self.stop_reason = self.stop_reason or reason
            on_stop = self._on_stop
            self._changed.notify_all()
        if on_stop is not None:
            on_stop()
        return True

    def on_stop(self, call: Callable[[], None] | None) -> None:
        """What `stop` calls from now on; called at once if the turn was stopped already."""
        with self._changed:
            self._on_stop = call
            stopped = self.stop_reason is not None
        if stopped and call is not None:
            call()

    # -- reading

    def read(self, after: int, until: float) -> list[Event]:
        """The events behind number `after`, waiting for one until `until` (monotonic).

        An empty list means that nothing came in time, or, when `ended(after)`, that nothing will.
        """
        with self._changed:
            while len(self._log) <= after and self.done is None:
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            return self._log[after:]

    def ended(self, after: int) -> bool:
        """Whether the log holds nothing behind `after` and never will."""
        with self._changed:
            return self.done is not None and len(self._log) <= after

    def wait(self, until: float) -> Done | None:
        """The end of the turn, or None when it has not come by `until`."""
        with self._changed:
            while self.done is None:
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            return self.done

    def queued_behind(self, ahead: int) -> None:
        """Tell readers who asked for status events that `ahead` turns come first."""
        self.append([Status("queued", {"position": ahead})])


def _end_state(error: CoworkError | None) -> State:
    if error is None:
        return State.SUCCEEDED
    stopped = isinstance(error, TurnInterrupted | ShuttingDown)
    return State.INTERRUPTED if stopped else State.FAILED


def _facts(error: CoworkError) -> dict[str, object]:
    after = {} if error.retry_after is None else {"retry_after": error.retry_after}
    return {**error.facts, **after}
