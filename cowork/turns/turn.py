"""A turn: one question, its state until its end, who reads it and who stops it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from cowork.errors import CoworkError, TurnInterrupted
from cowork.events import Done, Status, Token
from cowork.log import request_id
from cowork.model import Project, TurnKey
from cowork.runtime.ids import new_id
from cowork.turns.earlier_work import EarlierWork
from cowork.turns.event_log import EventLog
from cowork.turns.outcome import TurnState, state_of, without_answer, without_traceback
from cowork.turns.question import Question
from cowork.turns.readers import Readers
from cowork.turns.steers import TurnSteers
from cowork.turns.turn_events import TurnEvents
from cowork.turns.turn_facts import TurnFacts
from cowork.turns.waiting import Waiting


class Turn(TurnEvents):
    """One question's turn: its state, who reads it, and how it is stopped; its log is `TurnEvents`.

    `queue_position` is how many turns of its project were before it when it was asked.
    `key` is the client's, `question_in_outbox` whether the question is on its way to the chat
    history; `log_is_complete` is not so for a turn of another run whose events were lost.
    `is_adopted` says that another process has begun it, and this one goes on with it.
    `is_end_only` says that nothing is kept of it but how it ends (`keep_end_only`).
    `earlier_work` is what it had done by processes that are gone.
    A turn whose last reader has left goes on for `grace` seconds, then it stops; -1 is for ever.
    Every method may be called from any thread.
    """

    def __init__(
        self, project: Project, question: Question, *, grace: float = -1.0, turn_id: str = ""
    ) -> None:
        super().__init__(turn_id or new_id())
        self.project = project
        self.question = question
        self.request_id = request_id.get()
        self.created = datetime.now(UTC)
        self.started: datetime | None = None
        self.ended_at: datetime | None = None
        self.facts = TurnFacts()
        self.started_monotonic: float | None = None
        self.state = TurnState.QUEUED
        self.session_id: str | None = None
        self.is_new_session = False
        self.session_recovered = self.session_moved = False
        # How a conversation's session came about; None of a turn that is not one's.
        self.session_state: str | None = None
        self.is_adopted = False
        # Whether a process was given its question.
        self.was_asked = False
        self.log_is_complete = True
        self.key: TurnKey | None = None
        self.question_in_outbox = False
        self.queue_position = 0
        self.stop_reason: CoworkError | None = None
        self.waiting = Waiting()
        self.steers = TurnSteers(self.note)
        self.earlier_work = EarlierWork()
        self._readers = Readers(self.id, grace, self._stop_unread)
        self._is_closing = False
        self.is_end_only = False
        self._on_stop: Callable[[], None] | None = None
        self._on_end: Callable[[Turn], None] | None = None

    # -- writing, by whoever runs the turn

    def begin(self) -> None:
        """The turn's own time begins: nothing of its project is before it any more."""
        with self._condition:
            if self.done is not None:
                return
            self.state = TurnState.RUNNING
            self.started_monotonic = time.monotonic()
            self.started = datetime.now(UTC)
            self._condition.notify()

    def set_session(
        self, session_id: str | None, *, is_new: bool | None = None, recovered: bool | None = None
    ) -> None:
        """The session that answers; what is not given stays as it is."""
        self.session_id = session_id
        self.is_new_session = self.is_new_session if is_new is None else is_new
        self.session_recovered = self.session_recovered if recovered is None else recovered

    def mark_session_moved(self) -> None:
        """The session goes on in a new directory: its own is on another machine."""
        self.session_moved = True

    def set_queue_position(self, position: int) -> None:
        """How many turns of its project were before it when it was asked; readers learn it."""
        self.queue_position = position
        self.report_queue_position(position)

    def set_key(self, key: TurnKey | None) -> None:
        """The client's idempotency key."""
        self.key = key

    def wait_for(self, approvals: tuple[str, ...]) -> None:
        """The approvals that the turn waits for from now on; none: it goes on.

        Meanwhile it need not be read.
        """
        with self._condition:
            has_waited, has_ended = bool(self.waiting.ids), self.done is not None
            self.waiting.set(approvals)
            if approvals:
                self._readers.cancel_timer()
            elif has_waited and not has_ended:
                self._readers.start_timer()

    def add_earlier_work(self, work: EarlierWork) -> None:
        """A process that has done this of it is gone."""
        self.earlier_work = self.earlier_work.plus(work)

    def mark_question_in_outbox(self) -> None:
        """The question is on its way to the chat history."""
        self.question_in_outbox = True

    def try_begin_finish(self) -> bool:
        """Whether it is the caller who ends the turn; nothing is added to its log from now on."""
        with self._condition:
            if self._is_ending or self.done is not None:
                return False
            self._is_ending = True
            self.ended_at = datetime.now(UTC)
            return True

    def finish(self, done: Done, error: CoworkError | None = None) -> bool:
        """End the turn; False, and nothing changed, if it had ended before.

        Never raises: what cannot be logged ends as `Internal`.
        """
        with self._condition:
            if self.done is not None:
                return False
            done, error = self._append_end_safely(done, error)
            self.state = state_of(error)
            self.error, self.done = without_traceback(error), done
            self.question = self.question.without_texts()
            self.ended_at = self.ended_at or datetime.now(UTC)
            self._on_stop = None
            self._readers.cancel_timer()
            self._release_log_if_unread()
            on_end, self._on_end = self._on_end, None
            self._condition.notify()
        if on_end is not None:
            self._notify_listener(lambda: on_end(self))
        return True

    def fail(self, error: CoworkError) -> bool:
        """End the turn with nothing but the reason; as `finish`."""
        return self.finish(Done(success=False, message=""), error)

    def on_end(self, call: Callable[[Turn], None] | None) -> bool:
        """What `finish` calls, once; whether it takes another's place, which is not called then."""
        with self._condition:
            before, self._on_end = self._on_end, call
        return before is not None

    def report_queue_position(self, ahead: int) -> None:
        """Tell readers who asked for status events that `ahead` turns come first."""
        self.append([Status("queued", {"position": ahead})])

    # -- stopping, by anyone

    def stop(self, reason: CoworkError) -> bool:
        """Ask for the turn's end; the first reason counts.  False when it had ended before."""
        with self._condition:
            if self.done is not None:
                return False
            self.stop_reason = self.stop_reason or reason
            on_stop = self._on_stop
        if on_stop is not None:
            self._notify_listener(on_stop)
        return True

    def check_not_stopped(self) -> None:
        """Raise the reason where the turn was stopped."""
        if self.stop_reason is not None:
            raise self.stop_reason

    def on_stop(self, call: Callable[[], None] | None) -> None:
        """What `stop` calls from now on; called at once if the turn was stopped already."""
        with self._condition:
            # A turn that has ended is kept for long, and would keep its process with it.
            self._on_stop = call if self.done is None else None
            stopped = self.stop_reason is not None
        if stopped and call is not None:
            self._notify_listener(call)

    # -- reading

    def add_reader(self) -> None:
        """A reader has come; `remove_reader` when it goes."""
        with self._condition:
            self._readers.add()

    def remove_reader(self) -> None:
        """A reader has gone, whether the turn has ended or not."""
        with self._condition:
            self._readers.remove()
            self._release_log_if_unread()
            if self.done is None and not self.waiting.ids:
                self._readers.start_timer()

    def _stop_unread(self) -> None:
        with self._condition:
            is_unread = self._readers.count == 0 and not self.waiting.ids
        if is_unread:
            self.stop(TurnInterrupted("the client disconnected and did not come back in time"))

    def close(self) -> None:
        """Let go of the log, when its last reader has left; nobody new may come."""
        with self._condition:
            self._is_closing = True
            self._release_log_if_unread()

    def keep_end_only(self) -> bool:
        """Keep nothing of what is said but how the turn ends, as soon as its readers have left.

        False where it has ended, or its end is on its way to the store, with all that was said.
        """
        with self._condition:
            self.is_end_only = self.is_end_only or not (self._is_ending or self.done is not None)
            return self.is_end_only

    def _release_log_if_unread(self) -> None:
        if self._readers.count or not (
            self._is_closing or (self.is_end_only and self.done is not None)
        ):
            return
        self._log.close()
        self._log = EventLog()
        if self.done is not None and not self._is_closing:
            self.done, self.log_is_complete = without_answer(self.done), False
            self._append_end(self.done, self.error)

    # -- what is kept of it

    def restore(self, turn_id: str, created: datetime, request_id: str | None) -> None:
        """Be the turn of this id, of another run or process."""
        self.id, self.created, self.request_id = turn_id, created, request_id

    def adopt(self, log: EventLog | None, started: datetime | None, *, is_cut: bool) -> None:
        """Go on with a turn that another process has begun, behind its log.

        `is_cut`: the last of its events may be lost, so that what follows has other numbers.
        """
        with self._condition:
            self._log = log or EventLog()
            self.is_adopted, self.state, self.started = True, TurnState.RUNNING, started
            self.started_monotonic = time.monotonic()
            if is_cut and self.cut_after is None:
                self.cut_after = len(self._log)

    def give_up(self) -> None:
        """Another process is to go on with it; nothing is told here any more."""
        with self._condition:
            self.is_given_up = True
            self._on_stop = None
            self._readers.cancel_timer()
            self._condition.notify()

    def update(self, state: TurnState, started: datetime | None, ended: datetime | None) -> None:
        """What has become of the turn where it runs; one that has ended is still to be finished."""
        self.started, self.ended_at = started, ended
        if ended is None:
            self.state = state

    def finish_from_record(
        self,
        log: EventLog | None,
        done: Done,
        error: CoworkError | None,
        *,
        is_cut: bool = False,
    ) -> None:
        """End as the turn did where it ran; `log` is None where its events were lost.

        `is_cut`: only the last of them.
        """
        is_complete = log is not None
        cut_after = len(log) if is_cut and log is not None else None
        if log is None:
            log = EventLog()
            if done.message:
                log.append(Token(done.message))
        with self._condition:
            if self.done is not None:
                return
            self._log, self.log_is_complete, self.cut_after = log, is_complete, cut_after
        self.finish(done, error)
