"""The log of a turn: what was said in it, how it ended, and how that is read.

An HTTP reply, streaming or not, is only a reader of the log.  Reading never takes anything out,
so any number of readers may come, go and come back.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from sys import getsizeof

from cowork.errors import ClaudeFailed, CoworkError
from cowork.events import Done, Emitted, Event, Failed, Status, Token, TokenBatch
from cowork.log import logger
from cowork.runtime.condition import PredicateCondition
from cowork.turns.event_log import Batch, EventLog
from cowork.turns.outcome import internal_error
from cowork.turns.steers import Steer, steers_in

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
SAMPLE_EVERY = 64
TEXT = (Token, TokenBatch)


class TurnEvents(ABC):
    """Event n of the log (from 1) is what readers call frame n.

    `done` is set with the last event; `error` says why a turn did not succeed.
    `cut_after` is how many events are kept of one whose last ones were lost with its worker.
    `is_given_up` says that this process does not go on with it: whoever reads it here is to come
    again.
    Every method may be called from any thread.
    """

    def __init__(self, turn_id: str) -> None:
        self.id = turn_id
        self.done: Done | None = None
        self.error: CoworkError | None = None
        self.is_given_up = False
        self.cut_after: int | None = None
        self._is_ending = False
        self._log = EventLog()
        # When the first text came, and the last token of which the way to its readers is timed:
        # one in `SAMPLE_EVERY` (a power of two), its number and when it came; monotonic.
        self.first_text_at: float | None = None
        self.sample: tuple[int, float] | None = None
        # What is being told of: behind which number, and what; it need not be read again.
        self._fresh_batch: tuple[int, Batch] | None = None
        self._condition = PredicateCondition()

    @abstractmethod
    def stop(self, reason: CoworkError) -> bool:
        """Ask for the turn's end; the first reason counts.  False when it had ended before."""

    # -- writing

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
            if not before & (SAMPLE_EVERY - 1):
                self.sample = before + 1, time.monotonic()
            if self.first_text_at is None and any(isinstance(each, TEXT) for each in events):
                self.first_text_at = time.monotonic()
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

    # -- reading

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

    def wait(self, deadline: float, unless: Callable[[], bool] = lambda: False) -> Done | None:
        """The end of the turn, or None when it has not come by `deadline` or `unless()`."""
        with self._condition:
            self._condition.wait_for(
                lambda: self.done is not None or self.is_given_up or unless(), deadline
            )
            return self.done

    def ended(self, after: int) -> bool:
        """Whether the log holds nothing behind `after` and never will, here at least."""
        with self._condition:
            return (self.done is not None or self.is_given_up) and len(self._log) <= after

    def wake(self) -> None:
        """Make every reader that waits look at its `unless` again."""
        with self._condition:
            self._condition.notify()

    @property
    def text(self) -> str:
        """The answer so far."""
        with self._condition:
            return self._log.text() if self.done is None else self.done.message

    @property
    def streamed(self) -> str:
        """All tokens joined, those of an answer included that was replaced meanwhile."""
        with self._condition:
            return self._log.text(with_replaced=True)

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

    def dump(self) -> Iterator[bytes]:
        """The log, up to the end that `try_begin_finish` promised, in pieces (`EventLog.load`)."""
        pieces = self._log.dump()
        while True:
            with self._condition:
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece


def _facts_of(error: CoworkError) -> dict[str, object]:
    after = {} if error.retry_after is None else {"retry_after": error.retry_after}
    return {**error.facts, **after}
