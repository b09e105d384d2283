"""A cached thread pool: idle threads are reused, because starting one costs more than most calls.

`concurrent.futures.ThreadPoolExecutor` takes twice as long for a call under gevent (23 us, not 11),
keeps idle threads for ever, and never has more than a fixed number.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context
from queue import Empty, SimpleQueue

# How long a thread that has nothing to do waits for something; seconds.
IDLE_TIMEOUT_S = 5.0


class CachedThreadPool:
    """Runs each call at once, in a thread and a context of its own for as long as it takes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # Threads that wait and have not been promised a call yet.
        self._idle = 0
        self._closed = False

    def run(self, call: Callable[[], None]) -> None:
        """Have `call` run in another thread."""
        with self._lock:
            kept = self._idle > 0
            self._idle -= kept
        if not kept:
            threading.Thread(target=self._run_calls, name=self._name, daemon=True).start()
        self._calls.put(call)

    def _run_calls(self) -> None:
        call = self._wait_promised()
        while call is not None:
            Context().run(call)
            del call  # what it holds is not to be kept while this waits
            call = self._next()

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            if self._closed:
                return None
            self._idle += 1
        return self._wait_promised()

    def _wait_promised(self) -> Callable[[], None] | None:
        while True:
            try:
                return self._calls.get(timeout=IDLE_TIMEOUT_S)
            except Empty:
                with self._lock:
                    if self._idle:
                        self._idle -= 1
                        return None
                # A call was promised just now; it is on its way to one of those that wait.

    def close(self) -> None:
        """Keep no threads from now on; those that run a call end with it."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, 0
        for _ in range(idle):
            self._calls.put(None)
