"""Turns by id, while they run and for a while after, and by idempotency key."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cowork.errors import (
    CoworkError,
    IdempotencyMismatch,
    Internal,
    StoreUnavailable,
    TurnExpired,
    TurnNotFound,
)
from cowork.model import Project, TurnFilter, TurnKey
from cowork.stores.protocol import Store
from cowork.turns.idempotency_keys import IdempotencyKeys
from cowork.turns.listing import ListedPage, page_of, page_of_store
from cowork.turns.outcome import TurnState
from cowork.turns.records import from_record
from cowork.turns.remote_copies import RemoteCopies
from cowork.turns.remote_turn import RemoteTurn
from cowork.turns.retention import EndedTurns
from cowork.turns.session_change import frees_key
from cowork.turns.turn import Turn

# Turns that are no longer kept, and known to have been there.
TOMBSTONE_LIMIT = 100_000
# Of a project's turns, whose errors stand in its conversation.
FAILURES_LIMIT = 100


class TurnRegistry:
    """Every turn that can still be asked about.

    An ended turn is kept for `retention` seconds, then forgotten; where there are too many, the
    oldest of the owner who has most goes first.  That it once was is remembered
    for the last hundred thousand, so that "expired" can be told from "never was".
    Turns of an earlier run, or of another process, come from the `store`: those that still run
    somewhere are `remote`, and polled until the store has their end.  `holder` is our name
    there.  `on_remote_readers` is called when a reader of one of those has come or gone,
    `on_remote_silence` when nothing is heard of it.
    """

    def __init__(self, retention: float, store: Store, holder: str = "") -> None:
        self._retention = retention
        self._store = store
        self._holder = holder
        self._lock = threading.Lock()
        self._turns: dict[str, Turn] = {}
        self._keys = IdempotencyKeys()
        self._ended = EndedTurns(retention, on_evicted=self._remove)
        self._tombstones: OrderedDict[str, str] = OrderedDict()
        self.remote = RemoteCopies(store)
        self.on_remote_readers: Callable[[RemoteTurn], None] | None = None
        self.on_remote_silence: Callable[[RemoteTurn], None] | None = None

    def get(self, owner: str, turn_id: str) -> Turn:
        """The owner's turn of that id.

        Raises `TurnNotFound`, `TurnExpired` and `StoreUnavailable`.
        """
        with self._lock:
            self._ended.expire()
            turn = self._turns.get(turn_id)
            is_ours = turn is not None and turn.project.owner == owner
            expired = self._tombstones.get(turn_id) == owner
        if turn is not None and is_ours:
            self.remote.catch_up(turn)
            return turn
        turn = None if expired else self._load(owner, turn_id)
        if turn is None and not expired:
            raise TurnNotFound("no such turn")
        if turn is None or self._is_expired(turn):
            raise TurnExpired("the turn is no longer kept; see COWORK_TURN_RETENTION")
        return self._insert_loaded(turn)

    def page(self, project: Project, wanted: TurnFilter) -> ListedPage:
        """The project's turns that are kept, newest first; raises `StoreUnavailable`.

        Those that only this process has, and those that the store has of all; not what forks and
        rewinds the session.
        """
        since = datetime.now(UTC) - timedelta(seconds=self._retention)
        wanted = replace(wanted, ended_since=since)
        with self._lock:
            self._ended.expire()
            ours = [
                turn
                for turn in self._turns.values()
                if turn.project == project and turn.question.change is None
            ]
        if not self._store.shared:
            return page_of(ours, wanted)
        own = [turn for turn in ours if not isinstance(turn, RemoteTurn)]
        return page_of_store(self._store.turns(project, wanted), own, gone=self._tombstones)

    def failures(self, project: Project) -> dict[str, CoworkError]:
        """Why those of the project's kept turns failed that did, by id, of the newest.

        Raises `StoreUnavailable`.
        """
        turns = self.page(project, TurnFilter(FAILURES_LIMIT, TurnState.FAILED.value)).turns
        return {turn.id: turn.error for turn in turns if turn.error is not None}

    def get_or_create(self, key: TurnKey | None, create: Callable[[], Turn]) -> tuple[Turn, bool]:
        """The turn of that key and whether it was there before; else the one that `create` makes.

        `create` runs under a lock, so that of ten equal requests one makes the turn, and must not
        wait.  A turn that is not accepted after all has to be rejected (`rejecting`).
        Raises `IdempotencyMismatch` and `StoreUnavailable`.
        """
        if key is not None:
            found = self.find_by_key(key)
            if found is not None:
                return found, True
        with self._lock:
            self._ended.expire()
            found = self._by_key_locked(key)
            if found is not None:
                return found, True
            turn = create()
            self._turns[turn.id] = turn
            if key is not None:
                self._keys.bind(key, turn.id)
        return turn, False

    def bind_key(self, key: TurnKey, turn: Turn) -> None:
        """What came with that key was said to a turn that runs: the key finds it from now on.

        Nothing changes where the key has a turn.  Raises `StoreUnavailable`.
        """
        if turn.key is None:
            turn.set_key(key)  # it is kept for as long as its key
        with self._lock:
            if turn.id in self._turns and self._keys.find(key) is None:
                self._keys.bind(key, turn.id)
        self._store.bind_key(key, turn.id)

    def bind_latest(self, key: TurnKey, turn: Turn) -> None:
        """The key finds this turn from now on, and not the one before.

        Raises `StoreUnavailable`, when the key finds it in this process alone.
        """
        with self._lock:
            if turn.id in self._turns:
                self._keys.bind(key, turn.id)
        self._store.bind_key(key, turn.id, replaces=True)

    def find_by_key(self, key: TurnKey) -> Turn | None:
        """The turn of that key, here or in the store.

        Raises `IdempotencyMismatch` and `StoreUnavailable`.
        """
        return self._by_key(key) or self._load_by_key(key)

    @contextmanager
    def rejecting(self, turn: Turn) -> Iterator[None]:
        """Forget the turn when this is left by an exception, and end it with that."""
        try:
            yield
        except BaseException as fault:
            self._reject(turn, fault)
            raise

    def _by_key(self, key: TurnKey) -> Turn | None:
        with self._lock:
            self._ended.expire()
            return self._by_key_locked(key)

    def _by_key_locked(self, key: TurnKey | None) -> Turn | None:
        entry = self._keys.find(key) if key is not None else None
        if entry is None or key is None:
            return None
        _check_digest(entry[1], key)
        return self._turns[entry[0]]

    def _reject(self, turn: Turn, fault: BaseException) -> None:
        with self._lock:
            self._turns.pop(turn.id, None)
            self._keys.forget(turn.id)
        turn.on_end(None)
        error = fault if isinstance(fault, CoworkError) else Internal("the turn was not accepted")
        turn.fail(error)

    # -- turns of the store

    def _load_by_key(self, key: TurnKey) -> Turn | None:
        entry = self._store.find_by_idempotency_key(key.owner, key.key)
        if entry is None:
            return None
        _check_digest(entry[1], key)
        turn = self._load(key.owner, entry[0])
        return None if turn is None else self._insert_loaded(turn)

    def _load(self, owner: str, turn_id: str) -> Turn | None:
        found = self._store.turn(owner, turn_id)
        if found is None:
            return None
        record, compressed = found
        if record.ended is None and record.holder == self._holder:
            with self._lock:
                ours = self._turns.get(turn_id)
            if ours is not None:
                return ours  # it was accepted while we looked
            # Its result is still buffered: the store was unavailable.
            raise StoreUnavailable("the turn's result is not in the store yet", retry_after=1)
        turn = from_record(record, compressed, self.remote.published_of_lost(record))
        self.remote.catch_up(turn)
        return turn

    def _is_expired(self, turn: Turn) -> bool:
        if turn.ended_at is None:
            return False
        return (datetime.now(UTC) - turn.ended_at).total_seconds() > self._retention

    def _insert_loaded(self, turn: Turn) -> Turn:
        """The turn, or the same one that somebody else has taken out of the store meanwhile."""
        with self._lock:
            kept = self._turns.get(turn.id)
            if kept is not None:
                return kept
            self._turns[turn.id] = turn
            if isinstance(turn, RemoteTurn) and turn.done is None:
                turn.on_end(self.on_turn_ended)
                turn.on_readers = self.on_remote_readers
                turn.on_silence = self.on_remote_silence
                self.remote.add(turn)
        if turn.done is not None:
            self.on_turn_ended(turn)
        return turn

    def adopt(self, turn: Turn) -> None:
        """This process goes on with a turn that another one has begun."""
        with self._lock:
            self.remote.remove(turn.id)
            self._turns[turn.id] = turn
        turn.on_end(self.on_turn_ended)

    def insert_remote(self, turn: RemoteTurn) -> Turn:
        """Keep a turn that another worker has accepted for us; the one that is kept.

        That is another where somebody has taken it out of the store meanwhile, perhaps its end.
        """
        return self._insert_loaded(turn)

    def on_turn_ended(self, turn: Turn) -> None:
        """A turn has ended; its retention begins.

        One that failed before its question was asked frees its key, so that a retry asks.
        """
        with self._lock:
            if frees_key(turn.error, turn.question.change, was_asked=turn.was_asked):
                self._keys.forget(turn.id)
            if turn.id in self._turns:
                self._ended.add(turn)
            self._ended.expire()

    def forget_project(self, project: Project, late: Sequence[Turn] = ()) -> None:
        """Forget the project's turns that have ended, as if their time were over.

        Not those of which only the end was kept.  `late` are some that end just now.
        """
        with self._lock:
            self._ended.evict_project(project)
            for turn in late:
                if turn.id in self._turns:
                    self._remove(turn)

    def _remove(self, turn: Turn) -> None:
        self._turns.pop(turn.id, None)
        self._keys.forget(turn.id)
        turn.close()
        self._tombstones[turn.id] = turn.project.owner
        if len(self._tombstones) > TOMBSTONE_LIMIT:
            self._tombstones.popitem(last=False)

    def close(self) -> None:
        """Close every event log."""
        with self._lock:
            for turn in self._turns.values():
                turn.close()


def _check_digest(digest: str, key: TurnKey) -> None:
    if digest != key.digest:
        raise IdempotencyMismatch("this Idempotency-Key came with another body")
