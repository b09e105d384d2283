"""Removes the CLI's files of deleted sessions, when their processes are over.

Which are still to be removed is in the store: what a stop of the server, or a fault, has left is
tried again by the next start.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cowork.claude.session_files import NotRemoved, SessionFiles
from cowork.errors import StoreUnavailable
from cowork.log import logger
from cowork.stores.protocol import Store

log = logger(__name__)

# How long whoever deletes waits for it, and it for the end of a process; seconds.
REMOVE_TIMEOUT_S = 1.0
PROCESS_END_TIMEOUT_S = 60.0
_POLL_INTERVAL_S = 0.02
_CLOSE_TIMEOUT_S = 2.0


@dataclass(slots=True)
class _Job:
    ids: Sequence[str]
    is_ready: Callable[[], bool]
    until: float = field(default_factory=lambda: time.monotonic() + PROCESS_END_TIMEOUT_S)
    done: threading.Event = field(default_factory=threading.Event)


class Removals:
    """One thread, while there is something to remove; `close` it."""

    def __init__(self, store: Store, files: SessionFiles) -> None:
        self._store = store
        self._files = files
        self._lock = threading.Lock()
        self._jobs: deque[_Job] = deque()
        self._thread: threading.Thread | None = None
        # Not empty when it is to stop.
        self._stopped: list[bool] = []

    def start(self) -> None:
        """Try again what an earlier run has left."""
        try:
            ids = self._store.removals()
        except StoreUnavailable:
            return  # it is there at the next start too
        if ids:
            log.info("removing leftover files of deleted sessions", sessions=len(ids))
            self._put(_Job(ids, lambda: True))

    def add(self, ids: Sequence[str], is_ready: Callable[[], bool]) -> None:
        """Remove what the CLI keeps of these sessions, as soon as `is_ready()`.

        Returns when it is done, and in any case after `REMOVE_TIMEOUT_S` seconds.
        """
        job = _Job(ids, is_ready)
        self._put(job)
        job.done.wait(REMOVE_TIMEOUT_S)

    def _put(self, job: _Job) -> None:
        with self._lock:
            if self._stopped:
                return
            self._jobs.append(job)
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="removals", daemon=True)
            try:
                thread.start()
            except RuntimeError as fault:
                self._jobs.clear()
                log.error(
                    "could not start a thread to remove session files, next start retries",
                    why=str(fault),
                )
                return
            self._thread = thread

    def _next(self) -> _Job | None:
        with self._lock:
            if self._jobs and not self._stopped:
                return self._jobs.popleft()
            self._thread = None
            return None

    def _run(self) -> None:
        job = self._next()
        while job is not None:
            if not self._attempt(job):
                with self._lock:
                    self._jobs.append(job)  # behind those that need not wait for a process
                time.sleep(_POLL_INTERVAL_S)
            job = self._next()

    def _attempt(self, job: _Job) -> bool:
        """Whether nothing is left to do for it now."""
        try:
            if not job.is_ready():
                if time.monotonic() < job.until:
                    return False
                log.error(
                    "timeout ending a deleted session's process, next start removes its files",
                    session_id=job.ids[-1],
                )
                job.ids = ()
            for session_id in job.ids:
                self._remove(session_id)
        except Exception:
            log.exception("removing the files of deleted sessions failed")
        job.done.set()
        return True

    def _remove(self, session_id: str) -> None:
        try:
            self._files.remove(session_id, unless=self._stopped)
            self._store.delete_removal(session_id)
        except NotRemoved as fault:
            log.error(
                "could not remove files of a deleted session, next start retries",
                session_id=session_id,
                why=str(fault),
            )
        except StoreUnavailable:
            pass  # nothing is left; the next start will see that too

    def close(self) -> None:
        """Stop; what is not removed yet is for the next start."""
        with self._lock:
            self._stopped.append(True)
            thread = self._thread
        if thread is not None:
            thread.join(_CLOSE_TIMEOUT_S)
