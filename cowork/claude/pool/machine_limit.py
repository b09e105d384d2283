"""How many processes all workers of this machine may have together."""

from __future__ import annotations

import threading
from typing import Protocol

from cowork.claude.pool.slot import Slot
from cowork.claude.pool.slots import Slots


class MachineLimit(Protocol):
    """Asked before a process is started, and told when one has ended; `count` is all of ours."""

    def acquire(self, count: int) -> bool:
        """Whether this worker may have `count` processes, with what the others have."""

    def report(self, count: int) -> None:
        """This worker has `count` processes."""

    def ask_for_room(self, idle_s: float) -> bool:
        """Have a worker end a process that has been idle for longer; whether one begins to.

        May wait, a second or two where workers do not answer.
        """


class OwnLimit:
    """The limit of a worker that is alone on its machine: that of its slots."""

    def acquire(self, count: int) -> bool:
        """Always: there is a slot for it."""
        del count
        return True

    def report(self, count: int) -> None:
        """Nobody else wants to know."""

    def ask_for_room(self, idle_s: float) -> bool:
        """There is nobody."""
        del idle_s
        return False


class MachineGate:
    """Lets slots have a process while the machine has room."""

    def __init__(self, slots: Slots, limit: MachineLimit) -> None:
        self._slots = slots
        self._limit = limit
        # Two starts at once must not count each other twice, or not at all.
        self._lock = threading.Lock()
        slots.on_end = self.report

    def try_enter(self, slot: Slot) -> bool:
        """Whether the slot may have its process now; it counts from then on."""
        with self._lock:
            if not self._limit.acquire(self._count() + 1):
                return False
            slot.is_admitted = True
            return True

    def ask_for_room(self) -> bool:
        """Have another worker end a process that has been idle for longer than all of ours."""
        with self._slots.changed:
            idle_s = self._slots.longest_idle_s()
        return self._limit.ask_for_room(idle_s)

    def report(self) -> None:
        """Tell the others how many processes there are here."""
        with self._lock:
            self._limit.report(self._count())

    def _count(self) -> int:
        with self._slots.changed:
            return sum(slot.is_admitted for slot in self._slots)
