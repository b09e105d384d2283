"""SQLite's transactions, one after the other in a thread of the operating system.

A greenlet that waited for a disk or for another process's lock would stop all the others, so the
connection belongs to a native thread.  Callers that come while it commits share the next
transaction, and its one sync of the disk.
"""

from __future__ import annotations

import _queue
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from typing import Any, TypeVar

from cowork.errors import StoreUnavailable
from cowork.gevent_compat import native_start, new_event
from cowork.log import logger

log = logger(__name__)
T = TypeVar("T")

CALL_TIMEOUT_S = 1.0
_GROUP_COMMIT_LIMIT = 64


class Durability(IntEnum):
    """To read, to write, or to have written on the disk when the call returns."""

    READ = 0
    WRITE = 1
    SYNC = 2


class _Job:
    """A function of the connection, its result, and who waits for it."""

    __slots__ = ("abandoned", "call", "done", "durability", "fault", "loop", "result")

    def __init__(self, call: Callable[[sqlite3.Connection], Any], durability: Durability) -> None:
        self.call = call
        self.durability = durability
        self.result: Any = None
        self.fault: BaseException | None = None
        self.abandoned = False
        self.loop, self.done = new_event()


def _set_all(events: list[Any]) -> None:
    for event in events:
        event.set()


class _Abandoned(Exception):
    """Somebody gave up waiting while the transaction was made."""


def _check_wanted(jobs: list[_Job]) -> None:
    if any(job.abandoned for job in jobs):
        raise _Abandoned


class Transactions:
    """Runs functions of one connection; `close` it.

    The connection is in autocommit mode (`isolation_level=None`) and used by nobody else.
    """

    def __init__(self, connection: sqlite3.Connection, *, timeout: float = CALL_TIMEOUT_S) -> None:
        self._connection = connection
        self._timeout = timeout
        self._jobs: Any = _queue.SimpleQueue()
        self._stuck = False
        self._closed = False
        self._synchronous = ""
        self._ended = _Job(lambda _: None, Durability.READ)
        native_start()(self._serve, ())

    def run(self, call: Callable[[sqlite3.Connection], T], durability: Durability) -> T:
        """What `call` returns, once its transaction is done.

        `call` may be called more than once, each time in another transaction, and must change
        nothing else.  Raises `StoreUnavailable` where the file cannot be used or nothing happens
        in time; in that case it is unknown whether `call` has had its effect.
        """
        if self._stuck or self._closed:
            raise StoreUnavailable("the store's file does not answer", retry_after=1)
        job = _Job(call, durability)
        self._jobs.put(job)
        if not job.done.wait(self._timeout):
            job.abandoned = True
            self._stuck = True
            # Whenever the thread moves again, there is something behind which it says so.
            self._jobs.put(_Job(lambda _: None, Durability.READ))
            late = StoreUnavailable("the store's file does not answer in time", retry_after=1)
            late.outcome_unknown = True
            raise late
        if isinstance(job.fault, sqlite3.Error) and not isinstance(
            job.fault, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.InterfaceError
        ):
            sentence = f"the store's file cannot be used: {job.fault}"
            raise StoreUnavailable(sentence, retry_after=1) from job.fault
        if job.fault is not None:
            raise job.fault
        result: T = job.result
        return result

    def read(self, call: Callable[[sqlite3.Connection], T]) -> T:
        """As `run`, for what changes nothing."""
        return self.run(call, Durability.READ)

    def write(self, call: Callable[[sqlite3.Connection], T], *, sync: bool = False) -> T:
        """As `run`; what is to outlive the machine waits for the disk (`sync`)."""
        return self.run(call, Durability.SYNC if sync else Durability.WRITE)

    def close(self) -> None:
        """Finish what was asked for and close the connection."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        self._ended.done.wait(self._timeout * 2)

    # -- in the native thread

    def _serve(self) -> None:
        open_ = True
        while open_:
            jobs = [self._jobs.get()]
            while len(jobs) < _GROUP_COMMIT_LIMIT:
                try:
                    jobs.append(self._jobs.get_nowait())
                except _queue.Empty:
                    break
            open_ = None not in jobs
            self._do([job for job in jobs if job is not None])
            self._stuck = False
        with suppress(sqlite3.Error):
            self._connection.close()
        self._notify([self._ended])

    def _do(self, jobs: list[_Job]) -> None:
        """All in one transaction; where one of them breaks it, each in its own."""
        jobs = [job for job in jobs if not job.abandoned]
        try:
            self._transact(jobs)
        except BaseException as fault:  # noqa: BLE001 - it is the caller's, in the caller's thread
            # A file that is locked or full is so for all of them.
            if len(jobs) > 1 and not isinstance(fault, sqlite3.OperationalError):
                for job in jobs:
                    self._do([job])
                return
            for job in jobs:
                job.fault = fault
        self._notify(jobs)

    def _transact(self, jobs: list[_Job]) -> None:
        durability = max((job.durability for job in jobs), default=Durability.READ)
        # What needs no sync survives our death all the same, only not the machine's.
        self._sync("FULL" if durability is Durability.SYNC else "NORMAL")
        self._connection.execute("BEGIN" if durability is Durability.READ else "BEGIN IMMEDIATE")
        try:
            for job in jobs:
                job.result = job.call(self._connection)
            _check_wanted(jobs)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _sync(self, mode: str) -> None:
        if mode != self._synchronous:
            self._connection.execute(f"PRAGMA synchronous = {mode}")
            self._synchronous = mode

    @staticmethod
    def _notify(jobs: list[_Job]) -> None:
        loops: dict[int, tuple[Any, list[Any]]] = {}
        for job in jobs:
            if job.loop is None:
                job.done.set()
            else:
                loops.setdefault(id(job.loop), (job.loop, []))[1].append(job.done)
        for loop, events in loops.values():
            loop.run_callback_threadsafe(_set_all, events)
