"""A turn and its log: one question, everything that was said until its end, and who reads it.

An HTTP reply, streaming or not, is only a reader of the log.  Reading never takes anything out,
so any number of readers may come, go and come back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from sys import getsizeof

from cowork.claude.launch_options import DEFAULT, Needs
from cowork.errors import ClaudeFailed, CoworkError, Internal, ShuttingDown, TurnInterrupted
from cowork.events import Done, Failed, Said, Status, Tokens
from cowork.log import logger, request_id
from cowork.model import Project, TurnKey
from cowork.runtime.condition import PredicateCondition
from cowork.runtime.ids import new_id
from cowork.turns.event_log import Batch, TurnLog

log = logger(__name__)

# A log of more than this is a CLI gone mad, not an answer.
LOG_LIMIT = 64 * 2**20
# What a turn takes whatever was said, and each event besides its text; bytes.
BARE = 4096
MARK = 9
# What comes in a flood is cheaper read by somebody who meanwhile lets more of it come.
FEW = 16


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
    the whole turn, or the silence in it; `timeout`, in seconds, may make it shorter.  `needs` is
    what its process must have been started with.
    """

    text: str
    user_id: str | None = None
    message_type: str | None = None
    skill: str | None = None
    streaming: bool = False
    timeout: float | None = None
    needs: Needs = DEFAULT

    @property
    def size(self) -> int:
        """Bytes that its texts take in memory."""
        needs = self.needs
        texts = (self.text, needs.system_prompt, needs.output_schema, self.user_id)
        return sum([getsizeof(text) for text in texts if text is not None])

    def without_texts(self) -> Question:
        """What of it is looked at when its turn has ended."""
        return replace(self, text="", needs=DEFAULT)


class Turn:
    """One question's turn.  Event n of the log (from 1) is what readers call frame n.

    `ahead` is how many turns of its project were before it when it was asked.
    `done` is set with the last event; `error` says why a turn did not succeed.
    `key` is the client's, `is_in_history` whether the question is on its way to the chat history;
    `log_is_whole` is not so for a turn of another run whose events were lost.
    `is_bare` says that nothing is kept of it but how it ends (`strip`).
    A turn whose last reader has left goes on for `grace` seconds, then it stops; -1 is for ever.
    Every method may be called from any thread.
    """

    def __init__(self, project: Project, question: Question, *, grace: float = -1.0) -> None:
        self.id = new_id()
        self.project = project
        self.question = question
        self.request_id = request_id.get()
        self.created = datetime.now(UTC)
        self.started: datetime | None = None
        self.ended_at: datetime | None = None
        self.begun: float | None = None
        self.state = State.QUEUED
        self.done: Done | None = None
        self.error: CoworkError | None = None
        self.session_id: str | None = None
        self.is_new_session = False
        self.session_recovered = False
        self.log_is_whole = True
        self.key: TurnKey | None = None
        self.is_in_history = False
        self.ahead = 0
        self.stop_reason: CoworkError | None = None
        self._grace = grace
        self._readers = 0
        self._ending = False
        self._closing = False
        self.is_bare = False
        self._patience: threading.Timer | None = None
        self._log = TurnLog()
        # What is being told of: behind which number, and what; it need not be read again.
        self._news: tuple[int, Batch] | None = None
        self._changed = PredicateCondition()
        self._on_stop: Callable[[], None] | None = None
        self._on_end: Callable[[Turn], None] | None = None

    # -- writing, by whoever runs the turn

    def begin(self) -> None:
        """The turn's own time begins: nothing of its project is before it any more."""
        with self._changed:
            if self.done is not None:
                return
            self.state = State.RUNNING
            self.begun = time.monotonic()
            self.started = datetime.now(UTC)
            self._changed.tell()

    def append(self, events: list[Said]) -> None:
        """Add to the log; what comes after the end is dropped."""
        with self._changed:
            if self.done is not None or self._ending:
                return
            before = len(self._log)
            for event in events:
                self._log.append(event)
            too_much = self._log.size > LOG_LIMIT
            if len(events) == 1 and isinstance(events[0], Tokens):
                self._news = before, Batch.of_tokens(events[0])
            self._changed.tell()
            self._news = None
        if too_much:
            self.stop(ClaudeFailed("the turn said more than 64 MiB, tools and thinking included"))

    def begin_end(self) -> bool:
        """Whether it is the caller who ends the turn; nothing is added to its log from now on."""
        with self._changed:
            if self._ending or self.done is not None:
                return False
            self._ending = True
            return True

    def finish(self, done: Done, error: CoworkError | None = None) -> bool:
        """End the turn; False, and nothing changed, if it had ended before.

        Never raises: what cannot be logged ends as `Internal`.
        """
        with self._changed:
            if self.done is not None:
                return False
            done, error = self._log_end(done, error)
            self.state = end_state(error)
            self.error, self.done = forgetful(error), done
            self.question = self.question.without_texts()
            self.ended_at = self.ended_at or datetime.now(UTC)
            self._on_stop = None
            self._be_patient_no_more()
            self._let_go()
            on_end, self._on_end = self._on_end, None
            self._changed.tell()
        if on_end is not None:
            self._tell(lambda: on_end(self))
        return True

    def _log_end(self, done: Done, error: CoworkError | None) -> tuple[Done, CoworkError | None]:
        """The end as it stands in the log: a turn ends, whatever its end is made of."""
        try:
            self._say_end(done, error)
        except Exception:
            log.exception("the end of a turn could not be logged", turn_id=self.id)
            done, error = Done(success=False, message=""), broken()
            with suppress(Exception):
                self._say_end(done, error)
        return done, error

    def _say_end(self, done: Done, error: CoworkError | None) -> None:
        if error is not None:
            self._log.append(Failed(error.code, error.message, _facts(error)))
        self._log.append(done)

    def _tell(self, call: Callable[[], None]) -> None:
        """Call somebody who wants to know; what goes wrong there does not harm the turn."""
        try:
            call()
        except Exception:
            log.exception("somebody who was told of a turn failed", turn_id=self.id)

    def on_end(self, call: Callable[[Turn], None] | None) -> bool:
        """What `finish` calls, once; whether it takes another's place, which is not called then."""
        with self._changed:
            before, self._on_end = self._on_end, call
        return before is not None

    def queued_behind(self, ahead: int) -> None:
        """Tell readers who asked for status events that `ahead` turns come first."""
        self.append([Status("queued", {"position": ahead})])

    # -- stopping, by anyone

    def stop(self, reason: CoworkError) -> bool:
        """Ask for the turn's end; the first reason counts.  False when it had ended before."""
        with self._changed:
            if self.done is not None:
                return False
            self.stop_reason = self.stop_reason or reason
            on_stop = self._on_stop
        if on_stop is not None:
            self._tell(on_stop)
        return True

    def on_stop(self, call: Callable[[], None] | None) -> None:
        """What `stop` calls from now on; called at once if the turn was stopped already."""
        with self._changed:
            # A turn that has ended is kept for long, and would keep its process with it.
            self._on_stop = call if self.done is None else None
            stopped = self.stop_reason is not None
        if stopped and call is not None:
            self._tell(call)

    # -- reading

    def join(self) -> None:
        """A reader has come; `leave` when it goes."""
        with self._changed:
            self._readers += 1
            self._be_patient_no_more()

    def leave(self) -> None:
        """A reader has gone, whether the turn has ended or not."""
        with self._changed:
            self._readers -= 1
            self._let_go()
            if self._readers or self.done is not None or self._grace < 0:
                return
            self._be_patient()

    def _be_patient(self) -> None:
        patience = threading.Timer(self._grace, self._stop_unread)
        patience.daemon = True
        try:
            patience.start()
        except RuntimeError as fault:
            # No more threads: the turn goes on, and its own time limit ends it.
            log.warning("an unread turn is not stopped", turn_id=self.id, why=str(fault))
            return
        self._patience = patience

    def _stop_unread(self) -> None:
        with self._changed:
            unread = self._readers == 0
        if unread:
            self.stop(TurnInterrupted("nobody listened to the turn any more"))

    def _be_patient_no_more(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def wake(self) -> None:
        """Make every reader that waits look at its `unless` again."""
        with self._changed:
            self._changed.tell()

    def read(
        self,
        after: int,
        until: float,
        unless: Callable[[], bool] = lambda: False,
        take: Callable[[Batch], bool] = lambda _batch: False,
    ) -> Batch:
        """Events behind number `after`, waiting for one until `until` (monotonic) or `unless()`.

        An empty batch means that nothing came in time, or, when `ended(after)`, that nothing will.

        While this waits, events that come one by one are offered to `take`, in the thread that
        they come from, where it may not wait; those that it takes are not returned and do not end
        the wait.
        """

        def look() -> bool:
            nonlocal after
            while len(self._log) > after:
                many = len(self._log) > after + FEW
                taken = 0 if many or unless() else self._offer(after, take)
                if not taken:
                    return True
                after += taken
            return self.done is not None or unless()

        with self._changed:
            self._changed.wait(look, until)
            return self._log.read(after)

    def _offer(self, after: int, take: Callable[[Batch], bool]) -> int:
        """How many events `take` took; a fault is left to the reader, who will meet it too."""
        try:
            if self._news is not None and self._news[0] == after:
                batch = self._news[1]
            else:
                batch = self._log.read(after)
            return len(batch) if take(batch) else 0
        except Exception:  # noqa: BLE001 - it is not the fault of whoever appends
            return 0

    def ended(self, after: int) -> bool:
        """Whether the log holds nothing behind `after` and never will."""
        with self._changed:
            return self.done is not None and len(self._log) <= after

    def wait(self, until: float, unless: Callable[[], bool] = lambda: False) -> Done | None:
        """The end of the turn, or None when it has not come by `until` or `unless()`."""
        with self._changed:
            self._changed.wait(lambda: self.done is not None or unless(), until)
            return self.done

    @property
    def text(self) -> str:
        """The answer so far."""
        with self._changed:
            return self._log.text() if self.done is None else self.done.message

    @property
    def frames(self) -> int:
        """The number of the last event there is."""
        return len(self._log)

    @property
    def size(self) -> int:
        """Bytes that the turn's log takes."""
        return self._log.size

    @property
    def weight(self) -> int:
        """Bytes that all of a turn takes that has ended."""
        told = 0 if self.done is None else getsizeof(self.done.message)
        return BARE + MARK * len(self._log) + self.size + told

    def close(self) -> None:
        """Let go of the log, when its last reader has left; nobody new may come."""
        with self._changed:
            self._closing = True
            self._let_go()

    def strip(self) -> bool:
        """Keep nothing of what is said but how the turn ends, as soon as its readers have left.

        False where it has ended, or its end is on its way to the store, with all that was said.
        """
        with self._changed:
            self.is_bare = self.is_bare or not (self._ending or self.done is not None)
            return self.is_bare

    def _let_go(self) -> None:
        if self._readers or not (self._closing or (self.is_bare and self.done is not None)):
            return
        self._log.close()
        self._log = TurnLog()
        if self.done is not None and not self._closing:
            self.done, self.log_is_whole = bare(self.done), False
            self._say_end(self.done, self.error)

    # -- what is kept of it

    def dump(self) -> Iterator[bytes]:
        """The log up to the end that `begin_end` promised, in pieces, for `TurnLog.load`."""
        pieces = self._log.dump()
        while True:
            with self._changed:
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def adopt(self, log: TurnLog, done: Done, error: CoworkError | None) -> None:
        """End with the log and the end that the turn had where it ran."""
        with self._changed:
            self._log = log
        self.finish(done, error)


def forgetful(error: CoworkError | None) -> CoworkError | None:
    """The error without the frames it came through, whose variables hold questions.

    For one that is kept, and raised again for each reader.
    """
    if error is not None:
        error.with_traceback(None).__context__ = error.__cause__ = None
    return error


def bare(done: Done) -> Done:
    """The end without the answer."""
    return replace(done, message="", structured_output=None)


def end_state(error: CoworkError | None) -> State:
    """How a turn with this error has ended."""
    if error is None:
        return State.SUCCEEDED
    stopped = isinstance(error, TurnInterrupted | ShuttingDown)
    return State.INTERRUPTED if stopped else State.FAILED


def broken() -> Internal:
    """The error of a turn that something of ours broke."""
    return Internal("something of ours broke; see the server's log")


def _facts(error: CoworkError) -> dict[str, object]:
    after = {} if error.retry_after is None else {"retry_after": error.retry_after}
    return {**error.facts, **after}
