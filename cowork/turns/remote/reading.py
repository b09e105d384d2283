"""Reading turns that other workers run: theirs are followed while they are read here."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from typing import Any

from cowork.errors import StoreUnavailable
from cowork.model import PublishedEvents
from cowork.runtime.periodic import PeriodicThread
from cowork.runtime.thread_pool import CachedThreadPool
from cowork.turns.registry import TurnRegistry
from cowork.turns.remote.assignments import Assignments
from cowork.turns.remote.channel import Channel
from cowork.turns.remote_turn import RemoteTurn
from cowork.turns.turn import Turn

# How often a worker is told that its turns are read here, so that it goes on publishing them.
WATCH_INTERVAL_S = 5.0


class RemoteReading:
    """Follows the registry's remote turns; `holder` is our own name.  `start` and `close` it."""

    def __init__(
        self, channel: Channel, assignments: Assignments, registry: TurnRegistry, *, holder: str
    ) -> None:
        self._channel = channel
        self._assignments = assignments
        self._registry = registry
        self._holder = holder
        self._lock = threading.Lock()
        self._followed: dict[str, RemoteTurn] = {}
        self._threads = CachedThreadPool("remote turns")
        self._thread = PeriodicThread(
            "watches", self._watch_again, first_s=WATCH_INTERVAL_S, retry_s=WATCH_INTERVAL_S
        )
        registry.on_remote_readers = self._readers_changed
        registry.on_remote_silence = self._check_worker

    def start(self) -> None:
        """Keep telling workers which of their turns are read here."""
        self._thread.start()

    def close(self) -> None:
        """Read nothing of other workers any more."""
        self._thread.stop()
        self._thread.join(1.0)
        self._threads.close()

    @property
    def read_count(self) -> int:
        """How many turns of other workers are read here."""
        with self._lock:
            return sum(turn.is_read for turn in self._followed.values())

    def follow(self, turn: RemoteTurn) -> None:
        """Have what its worker publishes of the turn."""
        with self._lock:
            self._followed[turn.id] = turn
        self._channel.follow(turn.id, turn.place, partial(self._receive, turn))

    def _readers_changed(self, turn: RemoteTurn) -> None:
        """Follow the turn while it is read."""
        with self._lock:
            is_read, is_followed = turn.is_read, turn.id in self._followed
            if is_read == is_followed:
                return
            if is_read:
                self._followed[turn.id] = turn
            else:
                del self._followed[turn.id]
        if is_read:
            self._channel.follow(turn.id, turn.place, partial(self._receive, turn))
            self._tell_watch(turn)
        else:
            self._channel.unfollow(turn.id)
            if turn.done is None:
                self.tell(turn, "unwatch", {"turn": turn.id, "from": self._holder})

    def _check_worker(self, turn: RemoteTurn) -> None:
        """See whether the turn's worker is gone, and the turn with it."""
        with suppress(StoreUnavailable):
            self._assignments.release_if_dead(turn.holder)
            self._registry.remote.refresh(turn)

    def _receive(self, turn: RemoteTurn, published: list[PublishedEvents]) -> None:
        for events in published:
            if events.is_end:
                self.refresh_soon(turn)
            elif not turn.extend(events):
                # The store has lost what was before: its worker publishes it again.
                self._threads.run(lambda: self._tell_watch(turn))
                return

    def refresh_soon(self, turn: Turn) -> None:
        """The turn seems to have ended: see how."""
        self._threads.run(lambda: self._refresh(turn))

    def _refresh(self, turn: Turn) -> None:
        try:
            self._registry.remote.refresh(turn)
        except StoreUnavailable:
            return  # `StoreMaintenance` looks again
        if turn.done is not None:
            with self._lock:
                self._followed.pop(turn.id, None)
            self._channel.unfollow(turn.id)

    def _watch_again(self) -> float:
        with self._lock:
            followed = list(self._followed.values())
        for turn in followed:
            if turn.done is None:
                self._tell_watch(turn)
            else:
                self._refresh(turn)
        return WATCH_INTERVAL_S

    def _tell_watch(self, turn: RemoteTurn) -> None:
        body = {"turn": turn.id, "from": self._holder, "after": turn.event_count}
        self.tell(turn, "watch", body)

    def tell(self, turn: RemoteTurn, kind: str, body: dict[str, Any]) -> None:
        """Send its worker a command that has no reply."""
        # Told again in `WATCH_INTERVAL_S`; a worker that is gone has its turns ended by others.
        with suppress(StoreUnavailable):
            self._channel.tell(turn.holder, kind, body)
