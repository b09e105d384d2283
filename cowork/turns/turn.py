"""A turn and its log: one question, everything that was said until its end, and who reads it.

An HTTP reply, streaming or not, is only a reader of the log.  Reading never takes anything out,
so any number of readers may come, go and come back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from sys import getsizeof

from cowork.errors import ClaudeFailed, CoworkError, TurnInterrupted
from cowork.events import Done, Emitted, Event, Failed, Status, Token, TokenBatch
from cowork.log import logger, request_id
from cowork.model import Project, TurnKey
from cowork.runtime.condition import PredicateCondition
from cowork.runtime.ids import new_id
from cowork.turns.earlier_work import EarlierWork
from cowork.turns.event_log import Batch, EventLog
from cowork.turns.outcome import (
    State,
    internal_error,
    state_of,
    without_answer,
    without_traceback,
)
from cowork.turns.question import Question
from cowork.turns.readers import Readers
from cowork.turns.steers import Steer, TurnSteers, steers_in
from cowork.turns.waiting import Waiting

log = logger(__name__)

# A log of more than this is a CLI gone mad, not an answer.
LOG_LIMIT_BYTES = 64 * 2**20
# What a turn takes whatever was said, and each event besides its text; bytes.
BASE_BYTES = 4096
EVENT_BYTES = 9
# Before the numbers of a cut turn's end.
CUT_OFFSET = 10**9
# Above this many unread events, wake the reader to read them in one batch: cheaper than writing
# each from the thread that they come from.
WRITE_THROUGH_LIMIT = 16


class Turn:
    """One question's turn.  Event n of the log (from 1) is what readers call frame n.

    `queue_position` is how many turns of its project were before it when it was asked.
    `done` is set with the last event; `error` says why a turn did not succeed.
    `key` is the client's, `question_in_outbox` whether the question is on its way to the chat
    history; `log_is_complete` is not so for a turn of another run whose events were lost.
    `cut_after` is how many events are kept of one whose last ones were lost with its worker.
    `is_adopted` says that another process has begun it, and this one goes on with it;
    `is_given_up` that this process does not: whoever reads it here is to come again.
    `is_end_only` says that nothing is kept of it but how it ends (`keep_end_only`).
    `earlier_work` is what it had done by processes that are gone.
    A turn whose last reader has left goes on for `grace` seconds, then it stops; -1 is for ever.
    Every method may be called from any thread.
    """

    def __init__(
        self, project: Project, question: Question, *, grace: float = -1.0, turn_id: str = ""
    ) -> None:
        self.id = turn_id or new_id()
        self.project = project
        self.question = question
        self.request_id = request_id.get()
        self.created = datetime.now(UTC)
        self.started: datetime | None = None
        self.ended_at: datetime | None = None
        self.started_monotonic: float | None = None
        self.state = State.QUEUED
        self.done: Done | None = None
        self.error: CoworkError | None = None
        self.session_id: str | None = None
        self.is_new_session = False
        self.session_recovered = self.session_moved = False
        self.is_adopted = self.is_given_up = False
        self.log_is_complete = True
        self.cut_after: int | None = None
        self.key: TurnKey | None = None
        self.question_in_outbox = False
        self.queue_position = 0
        self.stop_reason: CoworkError | None = None
        self.waiting = Waiting()
        self.steers = TurnSteers(self.note)
        self.earlier_work = EarlierWork()
        self._readers = Readers(self.id, grace, self._stop_unread)
        self._is_ending = False
        self._is_closing = False
        self.is_end_only = False
        self._log = EventLog()
        # What is being told of: behind which number, and what; it need not be read again.
        self._fresh_batch: tuple[int, Batch] | None = None
        self._condition = PredicateCondition()
        self._on_stop: Callable[[], None] | None = None
        self._on_end: Callable[[Turn], None] | None = None

    # -- writing, by whoever runs the turn

    def begin(self) -> None:
        """The turn's own time begins: nothing of its project is before it any more."""
        with self._condition:
            if self.done is not None:
                return
            self.state = State.RUNNING
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

    def append(self, events: list[Emitted]) -> bool:
        """Add to the log; False, and nothing added, when the turn is about to end."""
        with self._condition:
            if self.done is not None or self._is_ending:
                return False
            before = len(self._log)
            for event in events:
                self._log.append(event)
            is_too_long = self._log.size > LOG_LIMIT_BYTES
            if len(events) == 1 and isinstance(events[0], TokenBatch):
                self._fresh_batch = before, Batch.of_token_batch(events[0])
            self._condition.notify()
            self._fresh_batch = None
        if is_too_long:
            self.stop(
                ClaudeFailed("the turn emitted more than 64 MiB, tools and thinking included")
            )
        return True

    def note(self, event: Event) -> bool:
        """As `append`, of one that has a bound of its own: the log's is not looked at."""
        with self._condition:
            if self.done is not None or self._is_ending:
                return False
            self._log.append(event)
            self._condition.notify()
        return True

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

    def _append_end_safely(
        self, done: Done, error: CoworkError | None
    ) -> tuple[Done, CoworkError | None]:
        """The end as it stands in the log: a turn ends, whatever its end is made of."""
        try:
            self._append_end(done, error)
        except Exception:
            log.exception("could not append the end of a turn to its event log", turn_id=self.id)
            done, error = Done(success=False, message=""), internal_error()
            with suppress(Exception):
                self._append_end(done, error)
        return done, error

    def _append_end(self, done: Done, error: CoworkError | None) -> None:
        if error is not None:
            self._log.append(Failed(error.code, error.message, _facts_of(error)))
        self._log.append(done)

    def _notify_listener(self, call: Callable[[], None]) -> None:
        """Call somebody who wants to know; what goes wrong there does not harm the turn."""
        try:
            call()
        except Exception:
            log.exception("exception in a callback of a turn", turn_id=self.id)

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

    def wake(self) -> None:
        """Make every reader that waits look at its `unless` again."""
        with self._condition:
            self._condition.notify()

    def read(
        self,
        after: int,
        deadline: float,
        unless: Callable[[], bool] = lambda: False,
        write_through: Callable[[Batch], bool] = lambda _batch: False,
    ) -> Batch:
        """Events behind number `after`, waiting for one until `deadline` (monotonic) or `unless()`.

        An empty batch means that nothing came in time, or, when `ended(after)`, that nothing will.

        While this waits, events that come one by one are offered to `write_through`, in the thread
        that they come from, where it may not wait; those that it takes (True) are not returned and
        do not end the wait.
        """

        def has_news() -> bool:
            nonlocal after
            while len(self._log) > after:
                is_flood = len(self._log) > after + WRITE_THROUGH_LIMIT
                written = 0 if is_flood or unless() else self._write_through(after, write_through)
                if not written:
                    return True
                after += written
            return self.done is not None or self.is_given_up or unless()

        with self._condition:
            self._condition.wait_for(has_news, deadline)
            return self._log.read(after)

    def _write_through(self, after: int, write_through: Callable[[Batch], bool]) -> int:
        """How many events `write_through` took; an exception is left to the reader."""
        try:
            if self._fresh_batch is not None and self._fresh_batch[0] == after:
                batch = self._fresh_batch[1]
            else:
                batch = self._log.read(after)
            return len(batch) if write_through(batch) else 0
        except Exception:  # noqa: BLE001 - it is not the fault of whoever appends
            return 0

    def ended(self, after: int) -> bool:
        """Whether the log holds nothing behind `after` and never will, here at least."""
        with self._condition:
            return (self.done is not None or self.is_given_up) and len(self._log) <= after

    def wait(self, deadline: float, unless: Callable[[], bool] = lambda: False) -> Done | None:
        """The end of the turn, or None when it has not come by `deadline` or `unless()`."""
        with self._condition:
            self._condition.wait_for(
                lambda: self.done is not None or self.is_given_up or unless(), deadline
            )
            return self.done

    @property
    def text(self) -> str:
        """The answer so far."""
        with self._condition:
            return self._log.text() if self.done is None else self.done.message

    def steered(self) -> dict[str, tuple[int, Steer]]:
        """What was said to it while it ran: the place of the event that began each, and each."""
        with self._condition:
            found = steers_in(self._log.events_of(Status))
            if self.done is not None:
                for _, steer in found.values():
                    steer.state = "cancelled" if steer.state == "pending" else steer.state
        return found

    def number_of(self, place: int) -> int:
        """The number by which readers know the event at that place of the log, from 1.

        They are the same, but where the last events were lost: how that turn ended has numbers
        that no event of its worker's can have had.
        """
        is_end = self.cut_after is not None and place > self.cut_after
        return place + CUT_OFFSET if is_end else place

    def place_of(self, number: int) -> int:
        """The place of the last event that a reader has, who knows it by that number."""
        if self.cut_after is None:
            return number
        return number - CUT_OFFSET if number > CUT_OFFSET else min(number, self.cut_after)

    @property
    def event_count(self) -> int:
        """The number of the last event there is."""
        return len(self._log)

    @property
    def size(self) -> int:
        """Bytes that the turn's log takes."""
        return self._log.size

    @property
    def memory_bytes(self) -> int:
        """Bytes that all of a turn takes that has ended."""
        told = 0 if self.done is None else getsizeof(self.done.message)
        return BASE_BYTES + EVENT_BYTES * len(self._log) + self.size + told

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

    def dump(self) -> Iterator[bytes]:
        """The log, up to the end that `try_begin_finish` promised, in pieces (`EventLog.load`)."""
        pieces = self._log.dump()
        while True:
            with self._condition:
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def restore(self, turn_id: str, created: datetime, request_id: str | None) -> None:
        """Be the turn of this id, of another run or process."""
        self.id, self.created, self.request_id = turn_id, created, request_id

    def adopt(self, log: EventLog | None, started: datetime | None, *, is_cut: bool) -> None:
        """Go on with a turn that another process has begun, behind its log.

        `is_cut`: the last of its events may be lost, so that what follows has other numbers.
        """
        with self._condition:
            self._log = log or EventLog()
            self.is_adopted, self.state, self.started = True, State.RUNNING, started
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

    def update(self, state: State, started: datetime | None, ended: datetime | None) -> None:
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


def _facts_of(error: CoworkError) -> dict[str, object]:
    after = {} if error.retry_after is None else {"retry_after": error.retry_after}
    return {**error.facts, **after}
