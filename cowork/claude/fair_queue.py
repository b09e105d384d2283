"""A queue in which owners take turns, and in which each owner's own come in their order."""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Queued(Protocol):
    """What can wait: `number` is its place among its owner's, the lowest goes first."""

    @property
    def owner(self) -> str | None: ...

    @property
    def number(self) -> int: ...


Item = TypeVar("Item", bound=Queued)


class FairQueue(Generic[Item]):
    """Who waits, by owner; not thread-safe.

    An owner whose turn it was (`served`) stands behind all others, and so does one that comes
    anew, so that whoever waits is served after as many others at most as there are owners, times
    its own place.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str | None, list[Item]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Item]:
        return (item for items in list(self._waiting.values()) for item in list(items))

    def owners(self) -> list[str | None]:
        """Those who have something waiting, the one whose turn is next at first."""
        return list(self._waiting)

    def first(self, owner: str | None) -> Item:
        """What has waited longest of the owner's."""
        return self._waiting[owner][0]

    def put(self, item: Item) -> None:
        """Let it wait, at the place of its number."""
        insort(self._waiting.setdefault(item.owner, []), item, key=lambda each: each.number)
        self._length += 1

    def remove(self, item: Item) -> None:
        """It waits no more; raises ValueError where it did not."""
        items = self._waiting.get(item.owner, [])
        items.remove(item)
        self._length -= 1
        if not items:
            del self._waiting[item.owner]

    def served(self, owner: str | None) -> None:
        """The owner has had its turn."""
        if owner in self._waiting:
            self._waiting.move_to_end(owner)
