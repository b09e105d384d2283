"""The memory store's part for what was said; has no lock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from sys import getsizeof

from cowork.model import Exchange, Project
from cowork.stores.limits import remembered

# What was said in all projects together; bytes.
HISTORIES_SIZE = 64 * 2**20
_NOTHING: tuple[list[Exchange], int] = ([], 0)


class MemoryHistories:
    """What was said last in each project; has no lock.

    Beyond `HISTORIES_SIZE` that of the owner who has most goes, of the project that was silent for
    longest first.
    """

    def __init__(self) -> None:
        # What was said, and the bytes that it takes.
        self._of: dict[Project, tuple[list[Exchange], int]] = {}
        self._sizes: Counter[str] = Counter()
        self._size = 0

    def of(self, project: Project) -> list[Exchange]:
        return list(self._of.get(project, _NOTHING)[0])

    def add(self, project: Project, exchange: Exchange) -> None:
        before, size = self._drop(project)
        found = remembered(before, exchange)
        forgotten = before[: len(before) + 1 - len(found)]
        size += _size(found[-1:]) - _size(forgotten)
        self._of[project] = found, size
        self._sizes[project.owner] += size
        self._size += size
        while self._size > HISTORIES_SIZE:
            most = max(self._sizes, key=lambda owner: self._sizes[owner])
            self.drop(next(each for each in self._of if each.owner == most))

    def drop(self, project: Project) -> None:
        self._drop(project)

    def _drop(self, project: Project) -> tuple[list[Exchange], int]:
        found, size = self._of.pop(project, _NOTHING)
        self._size -= size
        self._sizes[project.owner] -= size
        if not self._sizes[project.owner]:
            del self._sizes[project.owner]
        return found, size


def _size(said: Sequence[Exchange]) -> int:
    return sum(getsizeof(each.question) + getsizeof(each.answer) for each in said)
