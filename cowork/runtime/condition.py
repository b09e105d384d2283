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
from typing import Any

from cowork.gevent_compat import green


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

    def listen(self, timeout: float) -> None:
        """Wait until it rings, if it has not yet, or for `timeout` seconds."""
        if self._lock.acquire(timeout=timeout):
            self.rung = False


class _GreenBell:
    """The same for a greenlet, at a third of what gevent's lock with a time limit costs."""

    __slots__ = ("_current", "_hub", "_waiter", "rung")

    def __init__(self, gevent: Any) -> None:
        self._hub, self._current = gevent.get_hub(), gevent.getcurrent
        self._waiter: Any = None
        self.rung = False

    def ring(self) -> None:
        if not self.rung:
            self.rung = True
            if self._waiter is not None:
                self._hub.loop.run_callback(self._wake)

    def listen(self, timeout: float) -> None:
        """As a bell's; may return before the time for nothing: whoever waits looks again."""
        if not self.rung and timeout > 0:
            self._waiter = self._current()
            timer = self._hub.loop.timer(timeout)
            try:
                timer.start(self._wake)
                self._hub.switch()
            finally:
                self._waiter = None
                timer.close()
        self.rung = False

    def _wake(self) -> None:
        """In the hub; by the time both a ring and the time limit come here, it may have left."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.switch()


def _new_bell() -> _Bell | _GreenBell:
    gevent = green()
    return _Bell() if gevent is None else _GreenBell(gevent)


class PredicateCondition:
    """Hold it (`with`) to change or look; `tell` after a change; `wait` until something is true.

    What a `wait` is given to look at is looked at by others too, in their threads, but always
    while this is held: it must neither wait nor raise.  Not re-entrant.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[_Bell | _GreenBell, Callable[[], bool]]] = []
        self._unused: list[_Bell | _GreenBell] = []

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
        bell = self._unused.pop() if self._unused else _new_bell()
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
