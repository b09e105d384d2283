"""One thread that waits on many descriptors, for those who would otherwise need a thread each."""

from __future__ import annotations

import selectors
import socket
import threading
from collections import deque
from contextlib import suppress
from typing import Protocol

from cowork.log import logger

log = logger(__name__)

CLOSE_TIMEOUT_S = 2.0
SELECT_TIMEOUT_S = 60.0


class Watchable(Protocol):
    """Something with a descriptor of its own, which nobody else closes.

    Closing a descriptor that is waited on makes gevent's event loop abort the process.
    """

    def fileno(self) -> int:
        """The descriptor."""

    def on_readable(self) -> bool:
        """Called in the watcher thread when readable.  Must not block.  False: stop watching."""

    def close(self) -> None:
        """Give the descriptor back; called in the thread, once nobody waits on it any more.

        May be called twice.
        """


class FdWatcher:
    """Calls `on_readable` of what is watched whenever there is something to read (a selector).

    The thread begins with the first `watch` and ends with `close`, which closes what is left.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._changes: deque[tuple[bool, Watchable]] = deque()
        # The thread's own: what is to be closed, and the number that is waited on, if it is.
        self._watched: dict[Watchable, int | None] = {}
        self._wake_r, self._wake_w = socket.socketpair()
        self._wake_r.setblocking(False)
        self._wake_w.setblocking(False)
        self._closed = False

    def watch(self, watched: Watchable) -> bool:
        """Wait on it from now on; False, and it is not taken over, when this has been closed."""
        return self._change(True, watched)

    def unwatch(self, watched: Watchable) -> None:
        """Wait on it no more, and close it, soon; what was closed already is no error."""
        self._change(False, watched)

    def _change(self, begins: bool, watched: Watchable) -> bool:
        with self._lock:
            if self._closed:
                return False
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                thread.start()  # may fail, and is tried again by the next then
                self._thread = thread
            self._changes.append((begins, watched))
            self._wake()
            return True

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # a wake is pending
            self._wake_w.send(b"!")

    def _run(self) -> None:
        # Only this thread touches the selector: gevent's does not notice others' changes.
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_r, selectors.EVENT_READ)
            while not self._closed:
                for key, _ in selector.select(SELECT_TIMEOUT_S):
                    if key.data is None:
                        with suppress(BlockingIOError):
                            self._wake_r.recv(4096)
                    elif not _on_readable(key.data):
                        self._unregister(selector, key.data)
                self._apply(selector)
            self._apply(selector)
            for watched in [*self._watched]:
                self._end(selector, watched)

    def _apply(self, selector: selectors.BaseSelector) -> None:
        while self._changes:
            begins, watched = self._changes.popleft()
            if begins:
                self._watched[watched] = watched.fileno()
                selector.register(watched.fileno(), selectors.EVENT_READ, watched)
            else:
                self._end(selector, watched)

    def _unregister(self, selector: selectors.BaseSelector, watched: Watchable) -> None:
        """Wait on it no more; it is closed when nobody wants it any more."""
        number = self._watched.get(watched)
        if number is not None:
            selector.unregister(number)
            self._watched[watched] = None

    def _end(self, selector: selectors.BaseSelector, watched: Watchable) -> None:
        # By whom, not by which number: what was closed before had one that others may have now.
        self._unregister(selector, watched)
        self._watched.pop(watched, None)
        watched.close()

    def close(self) -> None:
        """End the thread; calling it twice is no error."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._wake()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_S)
        self._wake_r.close()
        self._wake_w.close()


def _on_readable(watched: Watchable) -> bool:
    try:
        return watched.on_readable()
    except Exception:
        # Others are watched by the same thread.
        log.exception("reading a watched descriptor failed")
        return False
