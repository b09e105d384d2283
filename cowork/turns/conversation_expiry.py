"""Ends what nobody goes on with: nodes of conversations, and sessions of unnamed projects."""

from __future__ import annotations

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

    `retention` is seconds since a node was last used.  A session that has none is kept for
    `turn_retention` seconds, since its turns go with it, and while it is not idle (`is_idle`).
    """

    def __init__(
        self,
        store: Store,
        delete: Callable[[Project], object],
        *,
        is_idle: Callable[[Project], bool],
        retention: float,
        turn_retention: float,
    ) -> None:
        self._store = store
        self._delete = delete
        self._is_idle = is_idle
        self._retention = retention
        self._turn_retention = turn_retention
        self._thread = PeriodicThread("conversations", self._step, first_s=INTERVAL_S)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; what was not deleted is when the server runs again."""
        self._thread.stop()
        self._thread.join(SOON_S)

    def _step(self) -> float:
        orphaned_s = min(self._retention, self._turn_retention)
        found = self._store.expire_nodes(self._retention, orphaned_s, BATCH)
        for project in found:
            try:
                if self._is_idle(project):
                    self._delete(project)
            except CoworkError as fault:
                log.warning("could not delete a conversation without a name", why=fault.message)
        return SOON_S if len(found) == BATCH else INTERVAL_S
