"""The processes of all workers of this machine, counted in the store they share."""

from __future__ import annotations

from contextlib import suppress

from cowork.errors import StoreUnavailable
from cowork.stores.protocol import WorkerStore
from cowork.turns.assignments import Assignments
from cowork.turns.channel import Channel


class MachineProcesses:
    """A `MachineLimit` of `limit` processes; `holder` is our name, which begins with the machine's.

    While the store is unavailable nobody is refused: a turn cannot begin then anyway.
    """

    def __init__(
        self,
        others: WorkerStore,
        channel: Channel,
        assignments: Assignments,
        *,
        holder: str,
        limit: int,
    ) -> None:
        self._others = others
        self._channel = channel
        self._assignments = assignments
        self._holder = holder
        self._machine = holder.partition("/")[0]
        self._limit = limit

    def acquire(self, count: int) -> bool:
        """As `MachineLimit.acquire`."""
        try:
            return self._others.acquire_processes(self._machine, count, self._limit)
        except StoreUnavailable:
            return True

    def report(self, count: int) -> None:
        """As `MachineLimit.report`; told again with the next heartbeat."""
        with suppress(StoreUnavailable):
            self._others.acquire_processes(self._machine, count, 0)

    def ask_for_room(self, idle_s: float) -> bool:
        """As `MachineLimit.ask_for_room`, by what they told with their last heartbeat."""
        with suppress(StoreUnavailable):
            idle = {
                worker.holder: worker.idle_s + worker.silent_s
                for worker in self._assignments.workers()
                if worker.machine == self._machine and worker.holder != self._holder
            }
            longest = max(idle, key=lambda holder: idle[holder], default=None)
            if longest is not None and idle[longest] > idle_s:
                return self._channel.tell(longest, "make_room", {})
        return False
