"""Lets other workers read the turns that run here: their logs, block by block, in the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from cowork.errors import StoreUnavailable
from cowork.log import logger
from cowork.model import PublishedEvents
from cowork.runtime.periodic import PeriodicThread
from cowork.runtime.thread_pool import CachedThreadPool
from cowork.stores.limits import LOG_SIZE
from cowork.stores.worker_protocol import WorkerStore
from cowork.turns.turn import Turn

log = logger(__name__)

# Between two blocks of a turn that is read elsewhere.
BLOCK_INTERVAL_S = 0.05
# Of one that is not: what a crash of this process may cost.
INTERVAL_S = 0.5
# A worker that reads a turn says so again before this is over, or counts as gone.
WATCH_TTL_S = 15.0
_IDLE_S = 3600.0
_JOIN_TIMEOUT_S = 1.0


@dataclass(slots=True)
class _Published:
    turn: Turn
    lock: threading.Lock = field(default_factory=threading.Lock)
    count: int = 0
    size: int = 0
    # Who reads it elsewhere, and until when that counts.
    watchers: dict[str, float] = field(default_factory=dict)
    has_thread: bool = False


class LogPublisher:
    """Publishes turns from `add` to their end; every method may be called from any thread.

    A turn that is read elsewhere has a thread, which publishes at once what comes after a pause.
    A worker that reads it counts as one of its readers here; `on_ended` is called with each, and
    the turn's id, when it ends.
    """

    def __init__(self, others: WorkerStore, on_ended: Callable[[str, str], object]) -> None:
        self._others = others
        self._on_ended = on_ended
        self._lock = threading.Lock()
        self._turns: dict[str, _Published] = {}
        self._threads = CachedThreadPool("publisher")
        self._thread = PeriodicThread("publisher", self._step, first_s=_IDLE_S)

    def start(self) -> None:
        """Begin, with nothing to publish."""
        self._thread.start()

    def close(self) -> None:
        """Publish no more."""
        self._thread.stop()
        self._thread.join(_JOIN_TIMEOUT_S)
        self._threads.close()

    def add(self, turn: Turn) -> None:
        """Publish the turn's log until it ends."""
        with self._lock:
            is_first = not self._turns
            self._turns[turn.id] = _Published(turn)
        if is_first:
            self._thread.wake()

    def watch(self, turn_id: str, worker: str, after: int) -> bool:
        """That worker reads the turn, and has the first `after` events; False where it is over."""
        with self._lock:
            published = self._turns.get(turn_id)
            if published is None or published.turn.done is not None:
                return False
            is_new = worker not in published.watchers
            published.watchers[worker] = time.monotonic() + WATCH_TTL_S
            needs_thread, published.has_thread = not published.has_thread, True
        with published.lock:
            # What it lacks may have been lost with a store that has forgotten everything.
            published.count = min(published.count, after)
        if is_new:
            published.turn.add_reader()
        if needs_thread:
            self._threads.run(lambda: self._publish_watched(published))
        return True

    def unwatch(self, turn_id: str, worker: str) -> None:
        """That worker reads the turn no more."""
        with self._lock:
            published = self._turns.get(turn_id)
            if published is None or published.watchers.pop(worker, None) is None:
                return
        published.turn.wake()
        published.turn.remove_reader()

    def _step(self) -> float:
        with self._lock:
            found = list(self._turns.values())
        for published in found:
            self._expire(published)
            if published.turn.done is not None:
                self._remove(published)
            elif not published.watchers:
                self._publish_safely(published)
        with self._lock:
            return INTERVAL_S if self._turns else _IDLE_S

    def _expire(self, published: _Published) -> None:
        now = time.monotonic()
        for worker in [each for each, until in published.watchers.items() if until < now]:
            self.unwatch(published.turn.id, worker)

    def _remove(self, published: _Published) -> None:
        with self._lock:
            self._turns.pop(published.turn.id, None)
            watchers, published.watchers = list(published.watchers), {}
        for worker in watchers:
            published.turn.remove_reader()
            self._tell_ended(published.turn.id, worker)

    def _tell_ended(self, turn_id: str, worker: str) -> None:
        # Who does not hear of it looks into the store after a while.
        with suppress(StoreUnavailable):
            self._on_ended(worker, turn_id)

    def _publish_watched(self, published: _Published) -> None:
        turn = published.turn
        # The first block may be empty: there has to be something that can say that it is over.
        is_written = self._publish_safely(published, even_empty=True)
        while True:
            with self._lock:
                is_over = turn.done is not None or self._thread.stopped
                if is_over or not published.watchers:
                    published.has_thread = False
                    break
            if is_written:
                time.sleep(BLOCK_INTERVAL_S)
                turn.read(
                    published.count,
                    time.monotonic() + INTERVAL_S,
                    lambda: not published.watchers,
                )
            else:
                time.sleep(INTERVAL_S)
            is_written = self._publish_safely(published)
        if turn.done is not None:
            self._remove(published)

    def _publish_safely(self, published: _Published, *, even_empty: bool = False) -> bool:
        """Whether all that was to be written is; what is not is tried again."""
        try:
            with published.lock:
                self._publish(published, even_empty=even_empty)
        except StoreUnavailable:
            return False
        return True

    def _publish(self, published: _Published, *, even_empty: bool) -> None:
        turn = published.turn
        while published.size <= LOG_SIZE:
            batch = turn.read(published.count, 0.0)
            if turn.done is not None or not (batch or even_empty):
                return
            codes, lines = batch.raw()
            events = PublishedEvents("", published.count + 1, codes, lines)
            self._others.publish(turn.id, events)
            published.count += len(batch)
            published.size += len(lines)
            even_empty = False
