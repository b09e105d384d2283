"""A queue in which owners take turns, and in which each owner's own come in their order."""

from __future__ import annotations

import threading
import time
from bisect import insort
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
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


@dataclass(eq=False, slots=True)
class Place:
    """A place at a turnstile, waited for, had, or left again."""

    owner: str | None
    number: int
    told: threading.Event = field(default_factory=threading.Event)
    had: bool = False


class Turnstile:
    """Lets so many in at once; who waits is let in by owners in turn."""

    # How often whoever waits looks whether it still wants to; seconds.
    LOOK = 0.2

    def __init__(self, places: int) -> None:
        self._free = places
        self._lock = threading.Lock()
        self._queue: FairQueue[Place] = FairQueue()
        self._numbers = count()

    def enter(self, owner: str | None, until: float, given_up: Callable[[], bool]) -> Place | None:
        """A place, to be left again; None where there was none until `until` (monotonic)."""
        with self._lock:
            place = Place(owner, next(self._numbers))
            self._queue.put(place)
            self._let_in()
        try:
            while not place.had and time.monotonic() < until and not given_up():
                place.told.wait(min(self.LOOK, max(0.0, until - time.monotonic())))
        except BaseException:
            self.leave(place)
            raise
        with self._lock:
            if not place.had:
                self._queue.remove(place)
                return None
        return place

    def leave(self, place: Place) -> None:
        """Let the next one in; leaving twice is no error."""
        with self._lock:
            if place.had:
                place.had = False
                self._free += 1
                self._let_in()
            elif place in self._queue:
                self._queue.remove(place)

    def _let_in(self) -> None:
        while self._free and self._queue:
            owner = self._queue.owners()[0]
            place = self._queue.first(owner)
            self._queue.remove(place)
            self._queue.served(owner)
            self._free -= 1
            place.had = True
            place.told.set()
