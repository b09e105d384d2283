"""Persists turns when accepted, started and ended; buffers ends while the store is unavailable.

A turn is accepted only when the store has it.  Its end must not depend on the store: ends are
buffered in memory, in order, and written as soon as the store is available again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from cowork.errors import CoworkError, StoreUnavailable
from cowork.history.outbox import Outbox
from cowork.log import logger
from cowork.model import (
    Claim,
    ConversationNode,
    Session,
    Spending,
    TurnEnd,
    TurnKey,
)
from cowork.stores.limits import KEY_KEEP
from cowork.stores.protocol import Store
from cowork.telemetry.traceparent import Traces
from cowork.turns.earlier_work import EarlierWork
from cowork.turns.history_messages import HistoryMessages, exchange_of, said_in
from cowork.turns.outcome import TurnOutcome, TurnState, failed, internal_error
from cowork.turns.records import compressed_log, minimal_record, to_record
from cowork.turns.session_change import frees_key
from cowork.turns.steers import Steer
from cowork.turns.turn import Turn

log = logger(__name__)

# Of the buffered ends.  Only accepted turns can add to them, and while the store is unavailable
# none is accepted; beyond the limit of bytes they are buffered without their logs.
BUFFERED_BYTES_LIMIT = 64 * 2**20
BUFFERED_LIMIT = 10_000


class DuplicateKey(StoreUnavailable):
    """Another process has just accepted a turn with this key; asking again finds it."""


class TurnRecorder:
    """Writes turns into the store; `holder` is this process's name there.

    `retention` is how long an ended turn is kept that came without a key, in seconds;
    `on_store_error` is called when the store turns out to be unavailable.
    """

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        *,
        holder: str,
        retention: float,
        traces: Traces | None = None,
    ) -> None:
        self._traces = traces or Traces()
        self._store = store
        self._outbox = outbox
        self._history = HistoryMessages(is_enabled=outbox.enabled)
        self.holder = holder
        self._retention = retention
        self._lock = threading.Lock()
        self.on_store_error: Callable[[], None] = lambda: None
        # Ids of turns that the store has as queued.
        self._queued: set[str] = set()
        self._buffered: deque[TurnEnd] = deque()
        self._buffered_bytes = 0

    @property
    def buffered(self) -> int:
        """How many ends wait to be written."""
        return len(self._buffered)

    def record_accepted(self, turn: Turn, key: TurnKey | None = None) -> None:
        """Write a turn that has its place in the queue; without this it must not start.

        Raises `StoreUnavailable`, `OutboxFull` and `DuplicateKey`.
        """
        turn.set_key(key)
        self._traces.put(turn.id, turn.facts.traceparent)
        if not self.flush():
            raise StoreUnavailable("store unavailable", retry_after=1)
        record, question = to_record(turn, self.holder), self._history.question(turn)
        try:
            known = self._store.put_turn(record, question, key)
        except StoreUnavailable as fault:
            if fault.outcome_unknown:
                self._close_uncertain(turn, fault)
            self.on_store_error()
            raise
        except BaseException:
            self._close_uncertain(turn, internal_error())
            raise
        if known is None and record.state == TurnState.QUEUED:
            self._queued.add(turn.id)
        if known is not None:
            raise DuplicateKey("another process accepted the same key just now", retry_after=1)
        if question is not None and turn.state is not TurnState.QUEUED:
            turn.mark_question_in_outbox()
            self._wake_outbox()

    def _close_uncertain(self, turn: Turn, fault: CoworkError) -> None:
        """The write's outcome is unknown: buffer an end, so that a turn that did land is closed."""
        if len(self._buffered) < BUFFERED_LIMIT:
            record = to_record(turn, self.holder, failed(fault))
            self._buffer(TurnEnd(record=record, keep=self._retention, gives_key_back=True))

    def record_started(self, turn: Turn) -> bool:
        """A turn that waited has started: its question goes to the chat history.

        False where it is not to be asked: the store has let whoever asked ask it again.
        """
        if turn.id not in self._queued:
            return True
        self._queued.discard(turn.id)
        question = self._history.question(turn)
        try:
            is_ours = self._store.start_turn(to_record(turn, self.holder), question)
        except StoreUnavailable:
            return True  # it will fail by itself; at its end its question is written first
        turn.mark_question_in_outbox()
        if question is not None:
            self._wake_outbox()
        return is_ours

    def record_steered(self, turn: Turn, steer: Steer) -> bool:
        """Something was said to a turn that runs: it goes to the chat history; whether it has."""
        if not self._history.is_told(turn):
            return True
        try:
            self._store.start_turn(to_record(turn, self.holder), said_in(turn, steer))
        except StoreUnavailable:
            return False  # it is written at the turn's end
        self._wake_outbox()
        return True

    def record_waiting(
        self,
        turn: Turn,
        parks_for: Sequence[str],
        *,
        is_given_up: bool = False,
        work: EarlierWork | None = None,
    ) -> None:
        """Have the store keep a turn that runs as it stands.

        With its log, and `work` that its process has done, where it can be parked for these
        approvals; one that `is_given_up` is nobody's from then on.  Raises `StoreUnavailable`.
        """
        if not self._store.shared:
            return
        log = compressed_log(turn) if parks_for else None
        parks = log is not None
        holder = "" if is_given_up and parks else self.holder
        record = to_record(turn, holder, parks_for=parks_for if parks else (), work=work)
        self._store.save_turn(record, log, parks=parks)

    def record_ended(
        self,
        turn: Turn,
        outcome: TurnOutcome,
        *,
        claim: Claim | None = None,
        session: Session | None = None,
        spent: tuple[Spending, ...] = (),
    ) -> bool:
        """Write how a turn ends; whether its session was written, as far as that is known.

        Never raises, and never waits longer than a call of the store, a second.
        """
        self._queued.discard(turn.id)
        is_end_only = turn.is_end_only
        end = TurnEnd(
            record=to_record(
                turn, self.holder, outcome.without_answer() if is_end_only else outcome
            ),
            keep=KEY_KEEP if turn.key is not None else self._retention,
            log=None if is_end_only else self._compressed_log(turn),
            gives_key_back=frees_key(outcome.error, turn.question.change, was_asked=turn.was_asked),
            messages=self._history.at_end(turn, outcome),
            claim=claim,
            session=session,
            exchange=exchange_of(turn, outcome),
            spent=spent,
            nodes=() if session is None else _nodes(turn, session, outcome),
        )
        kept = self._write(end) if self.flush() else None
        if kept is None:
            self._buffer(end)
        elif end.messages:
            self._wake_outbox()
        return kept is not False

    def _compressed_log(self, turn: Turn) -> bytes | None:
        try:
            return compressed_log(turn) if self._store.shared else None
        except Exception:
            # An unreadable file, no memory: the end matters more than its log.
            log.exception("could not save the event log of a turn", turn_id=turn.id)
            return None

    def _wake_outbox(self) -> None:
        try:
            self._outbox.wake()
        except Exception:
            # The message is in the store, and is delivered with the next one.
            log.exception("could not wake the outbox")

    def _write(self, end: TurnEnd) -> bool | None:
        """Whether the session was written; None where the store is unavailable."""
        try:
            return self._store.end_turn(end)
        except StoreUnavailable:
            return None
        except Exception:
            # Trying again would fail again, and block the ends behind it.
            log.exception("could not save the result of a turn", turn_id=end.record.id)
            return self._write_minimal(end)

    def _write_minimal(self, end: TurnEnd) -> bool:
        """Write the state alone; False, as if the session had been deleted."""
        left = replace(
            end, record=minimal_record(end.record), log=None, session=None, exchange=None, nodes=()
        )
        try:
            self._store.end_turn(left)
        except Exception as fault:  # noqa: BLE001 - the first one is in the log
            log.error("could not save the state of a turn", turn_id=end.record.id, error=str(fault))
        return False

    def flush(self) -> bool:
        """Write the buffered ends in order; whether none is left."""
        if not self._buffered:
            return True
        with self._lock:
            while self._buffered:
                end = self._buffered[0]
                if self._write(end) is None:
                    return False
                self._buffered.popleft()
                self._buffered_bytes -= _size(end)
        log.info("buffered turn results written")
        self._wake_outbox()
        return True

    def _buffer(self, end: TurnEnd) -> None:
        if self._buffered_bytes + _size(end) > BUFFERED_BYTES_LIMIT:
            end = replace(end, log=None)
        self._buffered_bytes += _size(end)
        self._buffered.append(end)
        self.on_store_error()
        if len(self._buffered) == 1:
            log.warning("store unavailable, buffering turn results", turn_id=end.record.id)


def _nodes(turn: Turn, session: Session, outcome: TurnOutcome) -> tuple[ConversationNode, ...]:
    """Where a client goes on that sends its conversation; of one that failed nobody knows how much
    of its answer the session has.
    """
    continuation = turn.question.continuation
    if continuation is None or outcome.error is not None:
        return ()
    streamed = turn.streamed if outcome.done.replaced else ""
    return tuple(
        ConversationNode(turn.project, key, session.id, session.cwd, turn.id)
        for key in continuation.answered_keys(outcome.done, streamed)
    )


def _size(end: TurnEnd) -> int:
    return len(end.log or b"") + sum(len(message.message) for message in end.messages)
