"""The outbox: chat messages that wait for the Chat API, and those that it refused for good.

A turn's messages are stored with the turn itself (`turns/recorder.py`); `relay.py` delivers them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cowork.errors import CoworkError
from cowork.history.relay import Relay
from cowork.log import logger
from cowork.model import DeadLetter, OutboxCounts
from cowork.stores.protocol import Store

log = logger(__name__)


class Outbox:
    """What waits in the store, and the relay that delivers it; not `enabled` without a Chat API.

    `max_age` is when a waiting message is a reason not to be ready (seconds; 0: never).
    """

    def __init__(self, store: Store, relay: Relay, *, max_age: float = 0.0) -> None:
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
    def state(self) -> dict[str, Any]:
        """For `/health`, over all owners; what the store would tell is None while it is away.

        `{"enabled": bool, "pending": int, "oldest_age_s": float | None, "dead": int,
        "dropped": int, "reachable": bool | None, "wants_login": bool}`; `reachable` is None until
        a first message was tried.
        """
        return {
            "enabled": self.enabled,
            **_told(self._counts()),
            "reachable": self._relay.reachable,
            "wants_login": self._relay.wants_login,
        }

    def reasons(self) -> list[str]:
        """Why a question would not be answered, or history is too late."""
        counts = self._counts() if self.enabled else None
        if counts is None:
            return []
        found = ["the outbox is full: the Chat API takes no messages"] if counts.full else []
        if self._max_age and (_age(counts) or 0.0) > self._max_age:
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

    def listed(self, owner: str) -> tuple[dict[str, Any], list[DeadLetter]]:
        """The counts, as in `state`, and the owner's dead letters, the first one first.

        Raises `StoreUnavailable`.
        """
        letters = self._store.dead_letters(owner)
        return {**_told(self._store.outbox_counts()), "dead": len(letters)}, letters

    def retry(self, owner: str) -> int:
        """Try the owner's dead letters again, each in its old place; how many they are.

        Raises `StoreUnavailable`.
        """
        revived = self._store.requeue_dead_letters(owner)
        if revived:
            log.info("dead letters are tried again", owner=owner, messages=revived)
            self.wake()
        return revived

    def _counts(self) -> OutboxCounts | None:
        try:
            return self._store.outbox_counts()
        except CoworkError:
            return None


def _told(counts: OutboxCounts | None) -> dict[str, Any]:
    if counts is None:
        return dict.fromkeys(("pending", "oldest_age_s", "dead", "dropped"))
    return {
        "pending": counts.waiting,
        "oldest_age_s": _age(counts),
        "dead": counts.dead,
        "dropped": counts.dropped,
    }


def _age(counts: OutboxCounts) -> float | None:
    """Seconds by the time of day, which may have been set back meanwhile."""
    if counts.oldest is None:
        return None
    return round(max((datetime.now(UTC) - counts.oldest).total_seconds(), 0.0), 1)
