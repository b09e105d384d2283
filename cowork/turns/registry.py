"""Turns by id, while they run and for a while after, and by idempotency key."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict, deque
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
    WorkerLost,
)
from cowork.model import Project, PublishedEvents, TurnFilter, TurnKey, TurnRecord
from cowork.stores.protocol import CLAIM_TTL_S, Store
from cowork.turns.listing import ListedPage, ListedTurn, of_record, of_turn, page_of
from cowork.turns.records import apply_record, from_record, is_lost
from cowork.turns.remote_turn import RemoteTurn
from cowork.turns.session_change import frees_key
from cowork.turns.turn import Turn

# Ended turns kept at most, whatever their retention; older ones are forgotten first.
COUNT_LIMIT = 10_000
BYTES_LIMIT = 256 * 2**20
TOMBSTONE_LIMIT = 100_000


class TurnRegistry:
    """Every turn that can still be asked about.

    An ended turn is kept for `retention` seconds, then forgotten; where there are too many, the
    oldest of the owner who has most goes first.  That it once was is remembered
    for the last hundred thousand, so that "expired" can be told from "never was".
    Turns of an earlier run, or of another process, come from the `store`: those that still run
    somewhere are polled (`refresh_remote`) until the store has their end.  `holder` is our name
    there.  `on_remote_readers` is called when a reader of one of those has come or gone,
    `on_remote_silence` when nothing is heard of it.
    """

    def __init__(self, retention: float, store: Store, holder: str = "") -> None:
        self._retention = retention
        self._store = store
        self._holder = holder
        self._lock = threading.Lock()
        self._turns: dict[str, Turn] = {}
        self._keys: dict[tuple[str, str], tuple[str, str]] = {}
        self._keys_of: dict[str, list[tuple[str, str]]] = {}
        # Of each owner; when it ended, and what it weighs.
        self._ended: dict[str, deque[tuple[float, Turn, int]]] = {}
        self._counts: Counter[str] = Counter()
        self._sizes: Counter[str] = Counter()
        self._count = self._bytes = 0
        self._tombstones: OrderedDict[str, str] = OrderedDict()
        self._remote: dict[str, RemoteTurn] = {}
        self.on_remote_readers: Callable[[RemoteTurn], None] | None = None
        self.on_remote_silence: Callable[[RemoteTurn], None] | None = None

    def get(self, owner: str, turn_id: str) -> Turn:
        """The owner's turn of that id.

        Raises `TurnNotFound`, `TurnExpired` and `StoreUnavailable`.
        """
        with self._lock:
            self._expire()
            turn = self._turns.get(turn_id)
            is_ours = turn is not None and turn.project.owner == owner
            expired = self._tombstones.get(turn_id) == owner
        if turn is not None and is_ours:
            self._catch_up(turn)
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
            self._expire()
            ours = [
                turn
                for turn in self._turns.values()
                if turn.project == project and turn.question.change is None
            ]
        if not self._store.shared:
            return page_of(ours, wanted)
        page, own = self._store.turns(project, wanted), {turn.id: turn for turn in ours}
        listed = (
            self._listed(record, own.get(record.id))
            for record in page.records
            # A fork or a rewind asks nothing.
            if not record.body["question"].get("change")
        )
        return ListedPage(tuple(each for each in listed if each is not None), page.next)

    def _listed(self, record: TurnRecord, own: Turn | None) -> ListedTurn | None:
        """What is known of it here, where it runs here; None where it is no longer told of."""
        if own is not None and not isinstance(own, RemoteTurn):
            return of_turn(own)
        return of_record(record) if record.id not in self._tombstones else None

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
            self._expire()
            found = self._by_key_locked(key)
            if found is not None:
                return found, True
            turn = create()
            self._turns[turn.id] = turn
            if key is not None:
                self._bind_locked(key, turn)
        return turn, False

    def bind_key(self, key: TurnKey, turn: Turn) -> None:
        """What came with that key was said to a turn that runs: the key finds it from now on.

        Nothing changes where the key has a turn.  Raises `StoreUnavailable`.
        """
        if turn.key is None:
            turn.set_key(key)  # it is kept for as long as its key
        with self._lock:
            if turn.id in self._turns and (key.owner, key.key) not in self._keys:
                self._bind_locked(key, turn)
        self._store.bind_key(key, turn.id)

    def _bind_locked(self, key: TurnKey, turn: Turn) -> None:
        self._keys[key.owner, key.key] = turn.id, key.digest
        self._keys_of.setdefault(turn.id, []).append((key.owner, key.key))

    def _forget_keys(self, turn: Turn) -> None:
        for key in self._keys_of.pop(turn.id, ()):
            self._keys.pop(key, None)

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
            self._expire()
            return self._by_key_locked(key)

    def _by_key_locked(self, key: TurnKey | None) -> Turn | None:
        entry = self._keys.get((key.owner, key.key)) if key is not None else None
        if entry is None or key is None:
            return None
        _check_digest(entry[1], key)
        return self._turns[entry[0]]

    def _reject(self, turn: Turn, fault: BaseException) -> None:
        with self._lock:
            self._turns.pop(turn.id, None)
            self._forget_keys(turn)
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
        turn = from_record(record, compressed, self._published_of_lost(record))
        self._catch_up(turn)
        return turn

    def _published_of_lost(self, record: TurnRecord) -> list[PublishedEvents]:
        """What there is of the log of a turn whose process was lost."""
        others = self._store.others
        return others.published(record.id) if others is not None and is_lost(record) else []

    def _catch_up(self, turn: Turn) -> None:
        """Have what the turn's own worker has published of it, where that is another."""
        others = self._store.others
        if others is None or not isinstance(turn, RemoteTurn) or turn.done is not None:
            return
        if not turn.is_read:  # else it is followed
            for events in others.published(turn.id, turn.place):
                if events.is_end or not turn.extend(events):
                    break
        if self._is_remote(turn):
            self.refresh(turn)

    def _is_remote(self, turn: Turn) -> bool:
        """Whether it is the kept one; the store's, read by several at once, has copies."""
        return self._remote.get(turn.id) is turn

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
                self._remote[turn.id] = turn
        if turn.done is not None:
            self.on_turn_ended(turn)
        return turn

    def adopt(self, turn: Turn) -> None:
        """This process goes on with a turn that another one has begun."""
        with self._lock:
            self._remote.pop(turn.id, None)
            self._turns[turn.id] = turn
        turn.on_end(self.on_turn_ended)

    def insert_remote(self, turn: RemoteTurn) -> Turn:
        """Keep a turn that another worker has accepted for us; the one that is kept.

        That is another where somebody has taken it out of the store meanwhile, perhaps its end.
        """
        return self._insert_loaded(turn)

    def find_remote(self, turn_id: str) -> RemoteTurn | None:
        """The turn of another worker, if it is read here and has not ended."""
        return self._remote.get(turn_id)

    @property
    def remote_count(self) -> int:
        """How many turns of other processes are read here and have not ended."""
        return len(self._remote)

    def refresh_remote(self) -> None:
        """Update the turns that run in other processes from the store; to be called periodically.

        Raises `StoreUnavailable`.
        """
        for turn in list(self._remote.values()):
            self.refresh(turn)

    def refresh(self, turn: Turn) -> None:
        """Update a turn that runs in another process; raises `StoreUnavailable`."""
        found = self._store.turn(turn.project.owner, turn.id)
        if found is None:
            self._miss(turn)
        else:
            apply_record(turn, *found, self._published_of_lost(found[0]))
        if turn.done is not None and self._is_remote(turn):
            self._remote.pop(turn.id, None)

    def _miss(self, turn: Turn) -> None:
        """The store does not know a turn that runs: it has lost everything.

        Its worker tells of its end all the same, if that goes on; else it is over.
        """
        if self._store.others is not None and isinstance(turn, RemoteTurn):
            turn.missing_since = turn.missing_since or time.monotonic()
            if time.monotonic() - turn.missing_since < CLAIM_TTL_S:
                return
        turn.fail(WorkerLost("the store lost the turn"))

    def runs_elsewhere(self, turn: Turn) -> bool:
        """Whether another process runs the turn now; raises `StoreUnavailable`."""
        if self._is_remote(turn):
            self.refresh(turn)
        return self._is_remote(turn)

    def on_turn_ended(self, turn: Turn) -> None:
        """A turn has ended; its retention begins.

        One that failed before its question was asked frees its key, so that a retry asks.
        """
        with self._lock:
            if frees_key(turn.error, turn.question.change):
                self._forget_keys(turn)
            if turn.id in self._turns:
                owner, weight = turn.project.owner, turn.memory_bytes
                self._ended.setdefault(owner, deque()).append((time.monotonic(), turn, weight))
                self._counts[owner] += 1
                self._sizes[owner] += weight
                self._count += 1
                self._bytes += weight
            self._expire()

    def _expire(self) -> None:
        old = time.monotonic() - self._retention
        for owner in [each for each, ended in self._ended.items() if ended[0][0] <= old]:
            while self._counts[owner] and self._ended[owner][0][0] <= old:
                self._evict_oldest(owner)
        while self._count > COUNT_LIMIT or self._bytes > BYTES_LIMIT:
            has = self._counts if self._count > COUNT_LIMIT else self._sizes
            self._evict_oldest(max(has, key=has.__getitem__))

    def _evict_oldest(self, owner: str) -> None:
        _, turn, weight = self._ended[owner].popleft()
        self._evict(turn, weight)

    def forget_project(self, project: Project, late: Sequence[Turn] = ()) -> None:
        """Forget the project's turns that have ended, as if their time were over.

        Not those of which only the end was kept.  `late` are some that end just now.
        """
        owner = project.owner
        with self._lock:
            ended = self._ended.get(owner, ())
            gone = [
                each for each in ended if each[1].project == project and not each[1].is_end_only
            ]
            if gone:
                ids = {turn.id for _, turn, _ in gone}
                self._ended[owner] = deque(each for each in ended if each[1].id not in ids)
            for _, turn, weight in gone:
                self._evict(turn, weight)
            for turn in late:
                if turn.id in self._turns:
                    self._remove(turn)

    def _evict(self, turn: Turn, weight: int) -> None:
        owner = turn.project.owner
        self._counts[owner] -= 1
        self._sizes[owner] -= weight
        self._count -= 1
        self._bytes -= weight
        if not self._counts[owner]:
            del self._ended[owner], self._counts[owner], self._sizes[owner]
        self._remove(turn)

    def _remove(self, turn: Turn) -> None:
        self._turns.pop(turn.id, None)
        self._forget_keys(turn)
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
