"""Waits for a slot of the pool, in bounded time, and ends what goes for it."""

from __future__ import annotations

import time
from collections.abc import Callable

from cowork.claude.pool.slot import LeaseRequest, Slot, Waiter
from cowork.claude.pool.slots import Slots
from cowork.claude.process.launcher import POLL_INTERVAL_S
from cowork.claude.process.process import ClaudeProcess
from cowork.errors import AtCapacity, ShuttingDown
from cowork.log import logger

log = logger(__name__)


class SlotAcquirer:
    """Acquires slots for any number of threads.

    One that is not there in `timeout` seconds is `AtCapacity`; who is held by a process of its own
    project waits `own_timeout`.  `give_back` takes a process whose slot came when nobody wanted it
    any more.
    """

    def __init__(
        self,
        slots: Slots,
        *,
        timeout: float,
        own_timeout: float,
        give_back: Callable[[ClaudeProcess], None],
    ) -> None:
        self._slots = slots
        self._timeout = timeout
        self._own_timeout = own_timeout
        self._give_back = give_back

    def acquire(self, wanted: LeaseRequest, given_up: Callable[[], bool]) -> Slot:
        """A slot that is ours: with a process that fits, or with none yet.

        Raises `AtCapacity`, `ShuttingDown`.
        """
        begun = time.monotonic()
        with self._slots.changed:
            if self._slots.closed:
                raise ShuttingDown("the server is shutting down")
            own = self._slots.take_own(wanted)  # nearly always: nobody else could have it
            if own is not None:
                return own
            waiter = self._slots.enqueue(wanted)
        try:
            while waiter.slot is None:
                self._await_slot(waiter, begun, given_up)
            _check_wanted(waiter.slot, given_up)
        except BaseException:
            self._give_up(waiter)
            raise
        return waiter.slot

    def _await_slot(self, waiter: Waiter, begun: float, given_up: Callable[[], bool]) -> None:
        """Wait for a while, or do what is to be done for the slot; raises when time is up."""
        if waiter.victim is not None:
            process = waiter.victim.process
            log.info("evicting a process", pid=process and process.pid)
            self._slots.end(waiter.victim, new_owner=waiter)
            return
        timeout = self._own_timeout if waiter.held else self._timeout
        left = begun + timeout - time.monotonic()
        if left <= 0 or given_up():
            with self._slots.changed:
                if waiter.slot is not None or waiter.victim is not None:
                    return  # just now
            raise _at_capacity()
        # It is woken; this is for who gives up.  Hundreds that wait must not keep us busy.
        assert waiter.woken is not None  # noqa: S101 - it was not served at once
        if not waiter.held:
            self._slots.on_shortage()
        waiter.woken.wait(min(left, POLL_INTERVAL_S + self._slots.waiting / 1000))
        waiter.woken.clear()
        with self._slots.changed:
            if self._slots.closed and waiter.slot is None and waiter.victim is None:
                raise ShuttingDown("the server is shutting down")
            self._slots.recheck(waiter)

    def _give_up(self, waiter: Waiter) -> None:
        with self._slots.changed:
            self._slots.withdraw(waiter)
        if waiter.victim is not None:
            self._slots.end(waiter.victim)
        if waiter.slot is not None and waiter.slot.process is not None:
            self._give_back(waiter.slot.process)


def _check_wanted(slot: Slot, given_up: Callable[[], bool]) -> None:
    """Raise where a process would be started for nobody."""
    if slot.process is None and given_up():
        raise _at_capacity()


def _at_capacity() -> AtCapacity:
    return AtCapacity("every Claude process is busy", retry_after=5)
