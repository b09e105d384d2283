"""Turns of other processes that are read here: copies that follow what the store knows."""

from __future__ import annotations

import time

from cowork.errors import WorkerLost
from cowork.model import PublishedEvents, TurnRecord
from cowork.stores.protocol import CLAIM_TTL_S, Store
from cowork.turns.records import apply_record, is_lost
from cowork.turns.remote_turn import RemoteTurn
from cowork.turns.turn import Turn


class RemoteCopies:
    """Those that have not ended, by id; of each the registry keeps one copy."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turns: dict[str, RemoteTurn] = {}

    def add(self, turn: RemoteTurn) -> None:
        """The copy that is kept."""
        self._turns[turn.id] = turn

    def remove(self, turn_id: str) -> None:
        """Follow it no more."""
        self._turns.pop(turn_id, None)

    def find(self, turn_id: str) -> RemoteTurn | None:
        """The turn of another worker, if it is read here and has not ended."""
        return self._turns.get(turn_id)

    @property
    def count(self) -> int:
        """How many turns of other processes are read here and have not ended."""
        return len(self._turns)

    def _has(self, turn: Turn) -> bool:
        """Whether it is the kept one; the store's, read by several at once, has copies."""
        return self._turns.get(turn.id) is turn

    def runs_elsewhere(self, turn: Turn) -> bool:
        """Whether another process runs the turn now; raises `StoreUnavailable`."""
        if self._has(turn):
            self.refresh(turn)
        return self._has(turn)

    def refresh_all(self) -> None:
        """Update the turns that run in other processes from the store; to be called periodically.

        Raises `StoreUnavailable`.
        """
        for turn in list(self._turns.values()):
            self.refresh(turn)

    def refresh(self, turn: Turn) -> None:
        """Update a turn that runs in another process; raises `StoreUnavailable`."""
        found = self._store.turn(turn.project.owner, turn.id)
        if found is None:
            self._miss(turn)
        else:
            apply_record(turn, *found, self.published_of_lost(found[0]))
        if turn.done is not None and self._has(turn):
            self._turns.pop(turn.id, None)

    def _miss(self, turn: Turn) -> None:
        """The store does not know a turn that runs: it has lost everything.

        Its worker tells of its end all the same, if that goes on; else it is over.
        """
        if self._store.others is not None and isinstance(turn, RemoteTurn):
            turn.missing_since = turn.missing_since or time.monotonic()
            if time.monotonic() - turn.missing_since < CLAIM_TTL_S:
                return
        turn.fail(WorkerLost("the store lost the turn"))

    def catch_up(self, turn: Turn) -> None:
        """Have what the turn's own worker has published of it, where that is another."""
        others = self._store.others
        if others is None or not isinstance(turn, RemoteTurn) or turn.done is not None:
            return
        if not turn.is_read:  # else it is followed
            for events in others.published(turn.id, turn.place):
                if events.is_end or not turn.extend(events):
                    break
        if self._has(turn):
            self.refresh(turn)

    def published_of_lost(self, record: TurnRecord) -> list[PublishedEvents]:
        """What there is of the log of a turn whose process was lost."""
        others = self._store.others
        return others.published(record.id) if others is not None and is_lost(record) else []
