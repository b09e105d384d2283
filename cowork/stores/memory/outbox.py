"""The memory store's part for chat messages on their way."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import replace
from datetime import datetime
from itertools import count
from sys import getsizeof

from cowork.model import ChatMessage, DeadLetter, OutboxCounts, Project
from cowork.stores.limits import DEAD_LIMIT


class MemoryOutbox:
    """Waiting messages and dead letters, each with the number of its arrival; has no lock."""

    def __init__(self, limit: int, bytes_limit: int) -> None:
        self._waiting: dict[Project, OrderedDict[str, tuple[int, ChatMessage]]] = {}
        self.size = 0
        self._limit = limit
        self._bytes = 0
        self._bytes_limit = bytes_limit
        # What waits of each owner's.
        self._counts: Counter[str] = Counter()
        self._sizes: Counter[str] = Counter()
        self._arrivals = count()
        self.dropped = 0
        self._dead: OrderedDict[str, tuple[DeadLetter, int, ChatMessage]] = OrderedDict()
        self._dead_counts: Counter[str] = Counter()
        self._dead_sizes: Counter[str] = Counter()
        # Who delivers, and until when.
        self._lease: tuple[str, float] = ("", 0.0)

    def put(self, message: ChatMessage) -> None:
        self._add(next(self._arrivals), message)

    def _add(self, arrival: int, message: ChatMessage) -> None:
        waiting = self._waiting.setdefault(message.project, OrderedDict())
        waiting[message.id] = arrival, message
        self._count(message, 1)

    def acquire_delivery_lease(self, holder: str, seconds: float, now: float) -> bool:
        held_by, until = self._lease
        if held_by != holder and now < until:
            return False
        self._lease = holder, now + seconds
        return True

    def projects(self) -> list[Project]:
        return sorted(self._waiting, key=self._first)

    def _first(self, project: Project) -> int:
        return next(iter(self._waiting[project].values()))[0]

    def first(self, project: Project) -> ChatMessage | None:
        for _, message in self._waiting.get(project, {}).values():
            return message
        return None

    def note_try(self, message: ChatMessage, *, tried: bool) -> None:
        waiting = self._waiting.get(message.project)
        if waiting is not None and message.id in waiting:
            arrival, kept = waiting[message.id]
            waiting[message.id] = arrival, replace(kept, tried=tried)

    def take(self, message: ChatMessage) -> tuple[int, ChatMessage] | None:
        waiting = self._waiting.get(message.project, OrderedDict())
        found = waiting.pop(message.id, None)
        if found is None:
            return None
        if not waiting:
            del self._waiting[message.project]
        self._count(found[1], -1)
        return found

    def _count(self, message: ChatMessage, many: int) -> None:
        owner, size = message.project.owner, many * _size(message)
        self.size += many
        self._bytes += size
        self._counts[owner] += many
        self._sizes[owner] += size
        if not self._counts[owner]:
            del self._counts[owner], self._sizes[owner]

    def shrink(self) -> list[str]:
        """Make room: the messages that died or have waited longest go, but never the last.

        Those of the owner who has most, so that one who floods the outbox loses its own.
        """
        dropped = []
        while self._dead and self._is_large():
            both = self._sizes + self._dead_sizes
            most = max(both, key=lambda owner: both[owner])
            if self._dead_counts[most] or self.size <= 1:
                dropped.append(self._drop_dead(self._dead_sizes))
            else:
                dropped.append(self._drop_oldest())
        while self.size > 1 and (self.size > self._limit or self._is_large()):
            dropped.append(self._drop_oldest())
        self.dropped += len(dropped)
        return dropped

    def _drop_oldest(self) -> str:
        has = self._sizes if self._is_large() else self._counts
        most = max(self._counts, key=lambda owner: has[owner])
        theirs = (project for project in self._waiting if project.owner == most)
        waiting = self._waiting[min(theirs, key=self._first)]
        _, oldest = next(iter(waiting.values()))
        self.take(oldest)
        return oldest.id

    def _is_large(self) -> bool:
        return self._bytes > self._bytes_limit

    def counts(self) -> OutboxCounts:
        heads = [next(iter(waiting.values())) for waiting in self._waiting.values()]
        oldest = min(heads, key=lambda head: head[0], default=None)
        return OutboxCounts(
            waiting=self.size,
            oldest=None if oldest is None else oldest[1].created,
            dead=len(self._dead),
            dropped=self.dropped,
            full=False,
        )

    def move_to_dead_letters(self, message: ChatMessage, why: str, died: datetime) -> str | None:
        """Also tells the id of the dead letter that had to go for it."""
        found = self.take(message)
        if found is None:
            return None
        arrival, kept = found
        self._count_dead(kept, 1)
        letter = DeadLetter(
            id=kept.id,
            project=kept.project,
            type=kept.type,
            status=kept.status,
            created=kept.created,
            why=why,
            died=died,
        )
        self._dead[kept.id] = letter, arrival, kept
        if len(self._dead) <= DEAD_LIMIT:
            return None
        self.dropped += 1
        return self._drop_dead(self._dead_counts)

    def _drop_dead(self, has: Counter[str]) -> str:
        """The oldest dead letter of the owner who `has` most."""
        most = max(self._dead_counts, key=lambda owner: has[owner])
        letter, _, message = self.dead_of(most)[0]
        del self._dead[letter.id]
        self._count_dead(message, -1)
        return letter.id

    def _count_dead(self, message: ChatMessage, many: int) -> None:
        owner, size = message.project.owner, many * _size(message)
        self._bytes += size
        self._dead_counts[owner] += many
        self._dead_sizes[owner] += size
        if not self._dead_counts[owner]:
            del self._dead_counts[owner], self._dead_sizes[owner]

    def dead_of(self, owner: str) -> list[tuple[DeadLetter, int, ChatMessage]]:
        return [kept for kept in self._dead.values() if kept[0].project.owner == owner]

    def requeue(self, owner: str) -> int:
        found = self.dead_of(owner)
        for letter, arrival, message in reversed(found):
            del self._dead[letter.id]
            self._count_dead(message, -1)
            self._add(arrival, replace(message, tried=False))
            self._waiting[message.project].move_to_end(message.id, last=False)
        return len(found)


def _size(message: ChatMessage) -> int:
    """Bytes that its text takes in memory; what names its sender is small."""
    return getsizeof(message.message)
