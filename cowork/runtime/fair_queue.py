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
class Permit:
    """A permit of a semaphore: waited for, held, or released again."""

    owner: str | None
    number: int
    woken: threading.Event = field(default_factory=threading.Event)
    held: bool = False


class FairSemaphore:
    """A semaphore of `permits`; owners who wait are served in turn."""

    # How often a waiter checks whether it has given up.
    POLL_INTERVAL_S = 0.2

    def __init__(self, permits: int) -> None:
        self._free = permits
        self._lock = threading.Lock()
        self._queue: FairQueue[Permit] = FairQueue()
        self._numbers = count()

    def acquire(
        self, owner: str | None, deadline: float, given_up: Callable[[], bool]
    ) -> Permit | None:
        """A permit, to be released again; None where none is free by `deadline` (monotonic s)."""
        with self._lock:
            permit = Permit(owner, next(self._numbers))
            self._queue.put(permit)
            self._grant()
        try:
            while not permit.held and time.monotonic() < deadline and not given_up():
                permit.woken.wait(min(self.POLL_INTERVAL_S, max(0.0, deadline - time.monotonic())))
        except BaseException:
            self.release(permit)
            raise
        with self._lock:
            if not permit.held:
                self._queue.remove(permit)
                return None
        return permit

    def release(self, permit: Permit) -> None:
        """Grant it to the next waiter; to release twice is no error."""
        with self._lock:
            if permit.held:
                permit.held = False
                self._free += 1
                self._grant()
            elif permit in self._queue:
                self._queue.remove(permit)

    def _grant(self) -> None:
        while self._free and self._queue:
            owner = self._queue.owners()[0]
            permit = self._queue.first(owner)
            self._queue.remove(permit)
            self._queue.served(owner)
            self._free -= 1
            permit.held = True
            permit.woken.set()
