"""Ends what nobody goes on with: nodes of conversations, and sessions of unnamed projects."""

from __future__ import annotations

import threading
import time
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
# Projects without a node whose turn a client may still look for.
UNREACHABLE_LIMIT = 10_000


class ConversationExpiry:
    """One thread, which `delete`s sessions of unnamed projects, as a client deletes its own.

    `retention` is seconds since a node, or such a session, was last used.  One that has lost its
    last node is kept for `turn_retention` seconds, since its turns go with it, and while it is not
    idle (`is_idle`).
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
        self._lock = threading.Lock()
        # By when it lost its last node, the oldest first.
        self._unreachable: dict[Project, float] = {}
        self._thread = PeriodicThread("conversations", self._step, first_s=INTERVAL_S)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; what was not deleted is when the server runs again."""
        self._thread.stop()
        self._thread.join(SOON_S)

    def add(self, project: Project) -> None:
        """Nobody can go on with this project's session any more."""
        with self._lock:
            if len(self._unreachable) < UNREACHABLE_LIMIT:  # the others are found when they are old
                self._unreachable.setdefault(project, time.monotonic())

    def _step(self) -> float:
        unused = self._store.expire_nodes(self._retention, BATCH)
        due = self._take_due(BATCH)
        for project in dict.fromkeys([*unused, *due]):
            try:
                if self._is_idle(project):  # else it is found when it is old
                    self._delete(project)
            except CoworkError as fault:
                log.warning("could not delete a conversation without a name", why=fault.message)
        return SOON_S if BATCH in (len(unused), len(due)) else INTERVAL_S

    def _take_due(self, limit: int) -> list[Project]:
        """Those that lost their last node long enough ago."""
        before = time.monotonic() - self._turn_retention
        with self._lock:
            found = [project for project, at in self._unreachable.items() if at <= before][:limit]
            for project in found:
                del self._unreachable[project]
        return found
