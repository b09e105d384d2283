"""Turns that have ended: how long they are kept, and which goes first where there are too many."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable

from cowork.model import Project
from cowork.turns.turn import Turn

# Ended turns kept at most, whatever their retention; older ones are forgotten first.
COUNT_LIMIT = 10_000
BYTES_LIMIT = 256 * 2**20


class EndedTurns:
    """Each owner's ended turns, the oldest first; not thread-safe, the registry's lock is.

    Each is kept for `retention` seconds; where there are too many, the oldest of the owner who has
    most goes first.  `on_evicted` is called with each that goes.
    """

    def __init__(self, retention: float, *, on_evicted: Callable[[Turn], None]) -> None:
        self._retention = retention
        self._on_evicted = on_evicted
        # Of each owner; when it ended, and what it weighs.
        self._of: dict[str, deque[tuple[float, Turn, int]]] = {}
        self._counts: Counter[str] = Counter()
        self._sizes: Counter[str] = Counter()
        self._count = self._bytes = 0

    def add(self, turn: Turn) -> None:
        """Its retention begins."""
        owner, weight = turn.project.owner, turn.memory_bytes
        self._of.setdefault(owner, deque()).append((time.monotonic(), turn, weight))
        self._counts[owner] += 1
        self._sizes[owner] += weight
        self._count += 1
        self._bytes += weight

    def expire(self) -> None:
        """Let go of those whose time is over, and of those that are too many."""
        old = time.monotonic() - self._retention
        for owner in [each for each, ended in self._of.items() if ended[0][0] <= old]:
            while self._counts[owner] and self._of[owner][0][0] <= old:
                self._evict_oldest(owner)
        while self._count > COUNT_LIMIT or self._bytes > BYTES_LIMIT:
            has = self._counts if self._count > COUNT_LIMIT else self._sizes
            self._evict_oldest(max(has, key=has.__getitem__))

    def evict_project(self, project: Project) -> None:
        """Let go of the project's, but for those of which only the end was kept."""
        owner = project.owner
        ended = self._of.get(owner, ())
        gone = [each for each in ended if each[1].project == project and not each[1].is_end_only]
        if gone:
            ids = {turn.id for _, turn, _ in gone}
            self._of[owner] = deque(each for each in ended if each[1].id not in ids)
        for _, turn, weight in gone:
            self._evict(turn, weight)

    def _evict_oldest(self, owner: str) -> None:
        _, turn, weight = self._of[owner].popleft()
        self._evict(turn, weight)

    def _evict(self, turn: Turn, weight: int) -> None:
        owner = turn.project.owner
        self._counts[owner] -= 1
        self._sizes[owner] -= weight
        self._count -= 1
        self._bytes -= weight
        if not self._counts[owner]:
            del self._of[owner], self._counts[owner], self._sizes[owner]
        self._on_evicted(turn)
