"""Bounds on what callers together, and each of them, can make the server hold."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cowork.errors import AtCapacity, CoworkError

RETRY_AFTER_S = 5
# A body, a reply or a piece of a stream of up to so many bytes is not counted.
SMALL_BODY_BYTES = 64 * 1024


class Quota:
    """So many things of so many bytes; `what` names them in a refusal.

    While there is more than one key (`owners` tells how many), each owner has half of it, so that
    no one of them keeps all the others out.  `share_error` is raised for an owner who has reached
    that, `AtCapacity` where all together have.  `held_bytes` are held now, `released_bytes`
    were ever released.
    """

    def __init__(
        self,
        what: str,
        *,
        max_bytes: int,
        max_count: int | None = None,
        owners: Callable[[], int] = lambda: 1,
        share_error: type[CoworkError] = AtCapacity,
    ) -> None:
        self._what = what
        self._max_bytes = max_bytes
        self._max_count = max_count
        self._owners = owners
        self._share_error = share_error
        self._lock = threading.Lock()
        self._held: dict[str, tuple[int, int]] = {}
        self._count = 0
        self.held_bytes = 0
        self.released_bytes = 0

    def acquire(self, owner: str, size: int, count: int = 1) -> None:
        """Hold `size` bytes for the owner until `release`; raises, with nothing held."""
        alone = self._owners() <= 1
        with self._lock:
            had, bytes_had = self._held.get(owner, (0, 0))
            if not alone and self._exceeds(had + count, bytes_had + size, 2):
                sentence = f"the caller's share of {self._what} is used up"
                raise self._share_error(sentence, retry_after=RETRY_AFTER_S)
            if self._exceeds(self._count + count, self.held_bytes + size, 1):
                sentence = f"the server holds as many {self._what} as it may"
                raise AtCapacity(sentence, retry_after=RETRY_AFTER_S)
            self._change(owner, count, size)

    def release(self, owner: str, size: int, count: int = 1) -> None:
        """What was acquired is held no more."""
        with self._lock:
            self._change(owner, -count, -size)
            self.released_bytes += size

    def _exceeds(self, count: int, size: int, parts: int) -> bool:
        too_many = self._max_count is not None and count > self._max_count // parts
        return too_many or size > self._max_bytes // parts

    def _change(self, owner: str, count: int, size: int) -> None:
        had, bytes_had = self._held.get(owner, (0, 0))
        self._held[owner] = now = had + count, bytes_had + size
        if now == (0, 0):
            del self._held[owner]
        self._count += count
        self.held_bytes += size
