"""Ends what nobody goes on with: nodes of conversations, and sessions of unnamed projects."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cowork.errors import CoworkError
from cowork.log import logger
from cowork.model import Project
from cowork.runtime.periodic import PeriodicThread
from cowork.stores.protocol import Store

log = logger(__name__)

INTERVAL_S = 60.0
# Nodes, and sessions, in one go; where there are more, the next is soon.
BATCH = 100
SOON_S = 1.0


class ConversationExpiry:
    """One thread, which `delete`s sessions of unnamed projects, as a client deletes its own.

    `retention` is seconds since a node, or such a session, was last used.
    """

    def __init__(
        self, store: Store, delete: Callable[[Project], object], *, retention: float
    ) -> None:
        self._store = store
        self._delete = delete
        self._retention = retention
        self._lock = threading.Lock()
        self._unreachable: dict[Project, None] = {}
        self._thread = PeriodicThread("conversations", self._step, first_s=INTERVAL_S)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; what was not deleted is when the server runs again."""
        self._thread.stop()
        self._thread.join(SOON_S)

    def add(self, project: Project) -> None:
        """Nobody can go on with this project's session: delete it soon."""
        with self._lock:
            if len(self._unreachable) < BATCH:  # the others are found when they are old
                self._unreachable[project] = None
        self._thread.wake()

    def _step(self) -> float:
        with self._lock:
            unreachable, self._unreachable = [*self._unreachable], {}
        unused = self._store.expire_nodes(self._retention, BATCH)
        for project in dict.fromkeys([*unreachable, *unused]):
            try:
                self._delete(project)
            except CoworkError as fault:
                log.warning("could not delete a conversation without a name", why=fault.message)
        return SOON_S if len(unused) == BATCH else INTERVAL_S
