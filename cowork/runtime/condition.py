"""A condition variable that is cheap to wait on, for what is waited on once for every token.

`threading.Condition` wakes all waiters, to have them check, and makes a lock for every wait.  Under
gevent, where a lock is Python and waking somebody a round of the event loop, that costs more than
reading the token.  Here whoever changes something evaluates the waiters' predicates, and wakes
only those whose predicate holds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from cowork.gevent_compat import green


class _Waiter:
    """Blocks one thread until it is woken; to wake it twice before it blocks is to wake it once."""

    __slots__ = ("_lock", "woken")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.woken = False

    def wake(self) -> None:
        if not self.woken:
            self.woken = True
            self._lock.release()

    def block(self, timeout: float) -> None:
        """Until it is woken, if it has not been yet, or for `timeout` seconds."""
        if self._lock.acquire(timeout=timeout):
            self.woken = False


class _GreenWaiter:
    """The same for a greenlet, at a third of what gevent's lock with a time limit costs."""

    __slots__ = ("_current", "_greenlet", "_hub", "woken")

    def __init__(self, gevent: Any) -> None:
        self._hub, self._current = gevent.get_hub(), gevent.getcurrent
        self._greenlet: Any = None
        self.woken = False

    def wake(self) -> None:
        if not self.woken:
            self.woken = True
            if self._greenlet is not None:
                self._hub.loop.run_callback(self._wake)

    def block(self, timeout: float) -> None:
        """As a `_Waiter`'s; may return early for nothing: the predicate is evaluated again."""
        if not self.woken and timeout > 0:
            self._greenlet = self._current()
            timer = self._hub.loop.timer(timeout)
            try:
                timer.start(self._wake)
                self._hub.switch()
            finally:
                self._greenlet = None
                timer.close()
        self.woken = False

    def _wake(self) -> None:
        """In the hub; by the time both a wake and the time limit come here, it may have left."""
        greenlet, self._greenlet = self._greenlet, None
        if greenlet is not None:
            greenlet.switch()


def _new_waiter() -> _Waiter | _GreenWaiter:
    gevent = green()
    return _Waiter() if gevent is None else _GreenWaiter(gevent)


class PredicateCondition:
    """A condition variable that wakes only waiters whose predicate holds.

    Use as a context manager to hold the lock, `notify()` after a change, `wait_for(predicate,
    deadline)` to block.  Predicates run in the notifying thread, under the lock: they must not
    block or raise.  Not re-entrant.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[_Waiter | _GreenWaiter, Callable[[], bool]]] = []
        self._unused: list[_Waiter | _GreenWaiter] = []

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def notify(self) -> None:
        """Evaluate every waiter's predicate, and wake it where that holds; call with the lock held.

        A predicate that raises wakes its own waiter, in which it raises again: neither whoever
        notifies nor the other waiters are to suffer from it.
        """
        for waiter, predicate in self._waiting:
            try:
                if not waiter.woken and predicate():
                    waiter.wake()
            except Exception:  # noqa: BLE001 - left to the waiter
                waiter.wake()

    def wait_for(self, predicate: Callable[[], bool], deadline: float) -> bool:
        """Block until `predicate()`, or until `deadline` (monotonic s); call with the lock held.

        Gives the predicate's last value; the lock is released while this blocks.
        """
        found = predicate()
        if found:
            return True
        waiter = self._unused.pop() if self._unused else _new_waiter()
        waiting = (waiter, predicate)
        self._waiting.append(waiting)
        try:
            while not found and (left := deadline - time.monotonic()) > 0:
                self._lock.release()
                try:
                    waiter.block(left)
                finally:
                    self._lock.acquire()
                found = predicate()
            return found
        finally:
            self._waiting.remove(waiting)
            if waiter.woken:
                waiter.block(0)
            self._unused.append(waiter)
