"""The right to deliver the chat messages of a store that several processes share.

Two relays of one store would send every message twice, and out of order.
"""

from __future__ import annotations

from time import monotonic

from cowork.stores.outbox_protocol import OutboxStore

LEASE_S = 3.0


class RelayLease:
    """Held by one process at a time; one that dies loses it within `seconds`.

    `holder` is this process's name in the store.

    Not thread-safe: the sender that holds the relay's `_pick_lock` asks for it.
    """

    def __init__(self, store: OutboxStore, holder: str, seconds: float = LEASE_S) -> None:
        self._store = store
        self._seconds = seconds
        self._holder = holder
        self._until = 0.0

    @property
    def held(self) -> bool:
        """Whether it was held when it was last asked for, and has not run out since."""
        return not self._store.shared or monotonic() < self._until

    def take(self) -> bool:
        """Take or prolong it, where another process could have it; raises `StoreUnavailable`."""
        begun = monotonic()
        if not self._store.shared or begun < self._until - self._seconds / 2:
            return True
        taken = self._store.acquire_delivery_lease(self._holder, self._seconds)
        self._until = begun + self._seconds if taken else 0.0
        return taken

    def give_back(self) -> None:
        """Let the next one have it at once; raises `StoreUnavailable`."""
        if self._store.shared and self._until:
            self._until = 0.0
            self._store.acquire_delivery_lease(self._holder, 0.0)
