"""A condition variable that is cheap to wait on, for what is waited on once for every token.

`threading.Condition` wakes all who wait, to let them look, and makes a lock for every wait.  Under
gevent, where a lock is Python and waking somebody a round of the event loop, that costs more than
reading the token.  Here whoever changes something looks for those who wait, and wakes only those
who have found what they wait for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType


class _Bell:
    """Wakes one waiter; rung twice before anyone listens, it has rung once."""

    __slots__ = ("_lock", "rung")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.rung = False

    def ring(self) -> None:
        if not self.rung:
            self.rung = True
            self._lock.release()

    def listen(self, timeout: float) -> bool:
        """Whether it rang, by now or within `timeout` seconds."""
        heard = self._lock.acquire(timeout=timeout)
        if heard:
            self.rung = False
        return heard


class Changes:
    """Hold it (`with`) to change or look; `tell` after a change; `wait` until something is true.

    What a `wait` is given to look at is looked at by others too, in their threads, but always
    while this is held: it must neither wait nor raise.  Not re-entrant.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[_Bell, Callable[[], bool]]] = []
        self._unused: list[_Bell] = []

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def tell(self) -> None:
        """Look for every waiter, and wake it if it is true; only while it is held.

        A look that fails wakes its own waiter, who will meet the fault: neither whoever tells nor
        the others who wait are to suffer from it.
        """
        for bell, true in self._waiting:
            try:
                if not bell.rung and true():
                    bell.ring()
            except Exception:  # noqa: BLE001 - left to the waiter
                bell.ring()

    def wait(self, true: Callable[[], bool], until: float) -> bool:
        """Let go until `true()`, or until `until` (monotonic); only while it is held.

        Gives what `true()`, which is called while it is held, said last.
        """
        found = true()
        if found:
            return True
        bell = self._unused.pop() if self._unused else _Bell()
        waiting = (bell, true)
        self._waiting.append(waiting)
        try:
            while not found and (left := until - time.monotonic()) > 0:
                self._lock.release()
                try:
                    bell.listen(left)
                finally:
                    self._lock.acquire()
                found = true()
            return found
        finally:
            self._waiting.remove(waiting)
            if bell.rung:
                bell.listen(0)
            self._unused.append(bell)
