"""The outbox: chat messages that wait for the Chat API, and those that it refused for good.

A turn's messages are stored with the turn itself (`turns/recorder.py`); `relay.py` delivers them.
"""

from __future__ import annotations

from dataclasses import dataclass

from cowork.errors import CoworkError
from cowork.history.relay import Relay
from cowork.log import logger
from cowork.model import DeadLetter, OutboxCounts
from cowork.stores.outbox_protocol import OutboxStore

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """`counts` is None while the store is unavailable, `reachable` until a message was tried."""

    enabled: bool
    counts: OutboxCounts | None
    reachable: bool | None
    wants_login: bool


class Outbox:
    """What waits in the store, and the relay that delivers it; not `enabled` without a Chat API.

    `max_age` is when a waiting message is a reason not to be ready (seconds; 0: never).
    """

    def __init__(self, store: OutboxStore, relay: Relay, *, max_age: float = 0.0) -> None:
        self._store = store
        self._relay = relay
        self._max_age = max_age
        self.enabled = relay.has_upstream

    def start(self) -> None:
        """Deliver what an earlier run or another process puts in the store."""
        if self.enabled and (self._store.shared or self._store.outbox_counts().waiting):
            self.wake()

    def close(self, timeout: float) -> None:
        """Deliver what waits, while the Chat API takes it, and stop: `timeout` seconds at most.

        What is not delivered stays in the store.
        """
        self._relay.close(timeout)

    @property
    def status(self) -> OutboxStatus:
        """How it is now, over all owners."""
        return OutboxStatus(
            enabled=self.enabled,
            counts=self._counts(),
            reachable=self._relay.reachable,
            wants_login=self._relay.wants_login,
        )

    def reasons(self) -> list[str]:
        """Why a question would not be answered, or history is too late."""
        counts = self._counts() if self.enabled else None
        if counts is None:
            return []
        found = ["the outbox is full: the Chat API takes no messages"] if counts.full else []
        if self._max_age and (counts.oldest_age_s or 0.0) > self._max_age:
            found.append(f"chat messages have waited longer than {self._max_age:g} s")
        return found

    def wake(self) -> None:
        """Look at the store: a message was put there."""
        if self.enabled:
            self._relay.wake()

    def token_changed(self) -> None:
        """Try again at once, if it was a login that was wanted."""
        self._relay.token_changed()

    # -- dead letters

    def dead_letters(self, owner: str) -> tuple[OutboxCounts, list[DeadLetter]]:
        """The counts over all owners, and the owner's dead letters, oldest first.

        Raises `StoreUnavailable`.
        """
        return self._store.outbox_counts(), self._store.dead_letters(owner)

    def requeue_dead_letters(self, owner: str) -> int:
        """Try the owner's dead letters again, each in its old place; how many they are.

        Raises `StoreUnavailable`.
        """
        requeued = self._store.requeue_dead_letters(owner)
        if requeued:
            log.info("dead letters requeued", owner=owner, messages=requeued)
            self.wake()
        return requeued

    def _counts(self) -> OutboxCounts | None:
        try:
            return self._store.outbox_counts()
        except CoworkError:
            return None
