"""A thread that does something again and again: every so many seconds, and when it is woken."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cowork.log import logger

log = logger(__name__)


class PeriodicThread:
    """Calls `task`, which returns the seconds until its next call, from a daemon thread.

    `first_s` is how long it waits before the first call, and `retry_s` after one that raised:
    that is logged, the first of several in a row, and the thread lives on.  `woken` may be an
    event that others set to have the task called at once.
    """

    def __init__(
        self,
        name: str,
        task: Callable[[], float],
        *,
        first_s: float = 0.0,
        retry_s: float = 1.0,
        woken: threading.Event | None = None,
    ) -> None:
        self._name = name
        self._task = task
        self._first_s = first_s
        self._retry_s = retry_s
        self._woken = woken or threading.Event()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._failing = False

    @property
    def stopped(self) -> bool:
        """Whether it has been told to stop."""
        return self._stopped.is_set()

    def start(self) -> None:
        """Begin; to call it again, or after `stop`, is no error.

        Raises RuntimeError where there are no more threads; the next call tries again.
        """
        with self._lock:
            if self._thread is None and not self.stopped:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                thread.start()
                self._thread = thread

    def wake(self) -> None:
        """Have the task called now, or once more where it is being called."""
        self._woken.set()

    def pause(self, seconds: float) -> bool:
        """For the task: wait for so long, or until `stop`; True where there was one."""
        return self._stopped.wait(seconds)

    def stop(self) -> None:
        """Call the task no more; one that is being called goes on to its end."""
        with self._lock:
            self._stopped.set()
        self._woken.set()

    def join(self, timeout: float) -> None:
        """Wait for its end after `stop`, `timeout` seconds at most."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        wait = self._first_s
        while True:
            if wait > 0:
                self._woken.wait(wait)
            if self.stopped:
                return
            self._woken.clear()
            wait = self._call()

    def _call(self) -> float:
        try:
            wait = self._task()
        except Exception:
            if not self._failing:
                log.exception("background thread failed, retrying", thread=self._name)
            self._failing = True
            return self._retry_s
        self._failing = False
        return wait
