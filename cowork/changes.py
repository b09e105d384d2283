"""A condition variable that is cheap to wait on, for what is waited on once for every token.

`threading.Condition` makes a lock for every wait and takes a re-entrant one three times around
it.  Under gevent, where a lock is Python, that costs more than reading the token; this keeps the
locks that it has made, and does half as much.
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

    Not re-entrant.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Bell] = []
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
        """Make every waiter look again; only while it is held."""
        for bell in self._waiting:
            bell.ring()

    def wait(self, true: Callable[[], bool], until: float) -> bool:
        """Let go until `true()`, or until `until` (monotonic); only while it is held.

        Gives what `true()`, which is called while it is held, said last.
        """
        if true():
            return True
        bell = self._unused.pop() if self._unused else _Bell()
        self._waiting.append(bell)
        try:
            while not (found := true()) and (left := until - time.monotonic()) > 0:
                self._lock.release()
                try:
                    bell.listen(left)
                finally:
                    self._lock.acquire()
            return found
        finally:
            self._waiting.remove(bell)
            if bell.rung:
                bell.listen(0)
            self._unused.append(bell)
