"""Bounds on what callers together, and each of them, can make the server hold."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cowork.errors import AtCapacity, CoworkError

RETRY_AFTER = 5
# A body, a reply or a piece of a stream of up to so many bytes is not counted.
SMALL = 64 * 1024


class Quota:
    """So many things of so many bytes; `what` names them in a refusal.

    While there is more than one key (`owners` tells how many), each owner has half of it, so that
    no one of them keeps all the others out.  `share` is the error for an owner who has reached
    that, `AtCapacity` is raised where all together have.  `returned` is how many bytes were ever
    given back.
    """

    def __init__(
        self,
        what: str,
        *,
        most_bytes: int,
        most: int | None = None,
        owners: Callable[[], int] = lambda: 1,
        share: type[CoworkError] = AtCapacity,
    ) -> None:
        self._what = what
        self._most_bytes = most_bytes
        self._most = most
        self._owners = owners
        self._share = share
        self._lock = threading.Lock()
        self._held: dict[str, tuple[int, int]] = {}
        self._count = 0
        self._bytes = 0
        self.returned = 0

    @property
    def held(self) -> int:
        """The bytes that are held now."""
        return self._bytes

    def take(self, owner: str, size: int, count: int = 1) -> None:
        """Hold `size` bytes for the owner until `give_back`; raises, with nothing held."""
        alone = self._owners() <= 1
        with self._lock:
            had, bytes_had = self._held.get(owner, (0, 0))
            if not alone and self._exceeds(had + count, bytes_had + size, 2):
                sentence = f"the caller's share of {self._what} is used up"
                raise self._share(sentence, retry_after=RETRY_AFTER)
            if self._exceeds(self._count + count, self._bytes + size, 1):
                sentence = f"the server holds as many {self._what} as it may"
                raise AtCapacity(sentence, retry_after=RETRY_AFTER)
            self._change(owner, count, size)

    def give_back(self, owner: str, size: int, count: int = 1) -> None:
        """What was taken is held no more."""
        with self._lock:
            self._change(owner, -count, -size)
            self.returned += size

    def _exceeds(self, count: int, size: int, parts: int) -> bool:
        too_many = self._most is not None and count > self._most // parts
        return too_many or size > self._most_bytes // parts

    def _change(self, owner: str, count: int, size: int) -> None:
        had, bytes_had = self._held.get(owner, (0, 0))
        self._held[owner] = now = had + count, bytes_had + size
        if now == (0, 0):
            del self._held[owner]
        self._count += count
        self._bytes += size
