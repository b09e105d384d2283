"""Picks the next chat message to deliver: of which project, and whether this process may."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from cowork.history.delivery_backoff import DeliveryGate
from cowork.history.lease import RelayLease
from cowork.model import ChatMessage, Project
from cowork.stores.outbox_protocol import OutboxStore

# Of so many projects at once the one is chosen whose message goes next.
_PROJECT_LIMIT = 1000
# Reading which they are is much where they are many: not for every message.
_PROJECTS_MAX_AGE_S = 0.1


class Picker:
    """Knows which projects have messages, and which of them are busy.

    `gate` and `busy` are guarded by `lock`, the relay's; one thread at a time calls `pick`.
    `on_free` is called, with the lock held, when a project is no longer busy; `holder` is this
    process's name in the store.
    """

    def __init__(
        self,
        store: OutboxStore,
        gate: DeliveryGate,
        lock: threading.Condition,
        on_free: Callable[[], None],
        holder: str,
    ) -> None:
        self._store = store
        self._gate = gate
        self._lock = lock
        self._on_free = on_free
        self.lease = RelayLease(store, holder)
        self.busy: set[Project] = set()
        self._known: list[Project] = []
        self._known_until = 0.0
        self._known_version = 0

    def pick(self, version: int) -> tuple[ChatMessage | None, float | None]:
        """The next message, whose project is busy from now on.

        Or None, and the seconds until a project's backoff ends (None: none backs off).  `version`
        is how often messages were put so far.  Reads the store without the lock, so that `wake`
        never waits for it.  The first message of a project that is not busy is not under way,
        whenever it is read.
        """
        before = monotonic()
        project = self._choose(version)
        if project is None:
            # As of before the choice: a backoff that has ended since would be waited for forever.
            with self._lock:
                return None, self._gate.project_retry_in(before)
        message: ChatMessage | None = None
        try:
            message = self._store.next_message(project)
        finally:
            if message is None:
                self._known.remove(project)
                self.release(project)
        return message, 0.0

    def release(self, project: Project) -> None:
        """The project was not tried after all."""
        with self._lock:
            self._gate.release_probe(project)
            self.free(project)

    def free(self, project: Project) -> None:
        """Let the project's next message go; call with the lock held."""
        self.busy.discard(project)
        self._on_free()

    def _choose(self, version: int) -> Project | None:
        """A project that may go, busy from now on; looks at the store if it knows of none."""
        known = monotonic() < self._known_until and version == self._known_version
        if known and (chosen := self._choose_known()) is not None:
            return chosen
        self._known = self._store.waiting_projects(_PROJECT_LIMIT)
        self._known_until, self._known_version = monotonic() + _PROJECTS_MAX_AGE_S, version
        with self._lock:
            self._gate.forget_all_but(set(self._known))
        return self._choose_known()

    def _choose_known(self) -> Project | None:
        if not self._known or not self.lease.take():
            return None
        with self._lock:
            chosen = self._gate.choose(self._known, self.busy, monotonic())
            if chosen is not None:
                self.busy.add(chosen)
            return chosen
