"""The processes of all workers of this machine, counted in the store they share."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from cowork.errors import CoworkError, StoreUnavailable
from cowork.stores.worker_protocol import WorkerStore
from cowork.turns.remote.channel import Channel

# Of the workers that may have a process to end, so many are asked at most, each for so long once
# it has begun to answer.
ASKED_LIMIT = 3
ANSWER_TIMEOUT_S = 1.0
# How long it counts that nobody has a process to end.
NOBODY_TTL_S = 0.1


class MachineProcesses:
    """A `MachineLimit` of `limit` processes; `holder` is our name, which begins with the machine's.

    While the store is unavailable nobody is refused: a turn cannot begin then anyway.
    """

    def __init__(
        self,
        others: WorkerStore,
        channel: Channel,
        *,
        holder: str,
        limit: int,
    ) -> None:
        self._others = others
        self._channel = channel
        self._holder = holder
        self._machine = holder.partition("/")[0]
        self._limit = limit
        self._asking = threading.Lock()
        self._nobody_until = 0.0

    def acquire(self, count: int) -> bool:
        """As `MachineLimit.acquire`."""
        try:
            return self._others.acquire_processes(self._machine, count, self._limit)
        except StoreUnavailable:
            return True

    def report(self, count: int) -> None:
        """As `MachineLimit.report`; it is told again with each heartbeat."""
        with suppress(StoreUnavailable):
            self._others.acquire_processes(self._machine, count, 0)

    def ask_for_room(self, idle_s: float) -> bool:
        """As `MachineLimit.ask_for_room`.

        What they told with their last heartbeat says for how long one may have been idle at most;
        each knows better by now, and is asked, the longest first.  Hundreds of starts may wait: one
        asks at a time, and where nobody has room, that is so for all of them for a moment.
        """
        with self._asking:
            if time.monotonic() < self._nobody_until:
                return False
            found = self._ask_all(idle_s)
            if not found:
                self._nobody_until = time.monotonic() + NOBODY_TTL_S
            return found

    def _ask_all(self, idle_s: float) -> bool:
        try:
            known = self._others.workers()
        except StoreUnavailable:
            return False
        idle = {
            worker.holder: worker.idle_s + worker.silent_s
            for worker in known
            if worker.machine == self._machine and worker.holder != self._holder
        }
        longer = [holder for holder in idle if idle[holder] > idle_s]
        longer.sort(key=lambda holder: idle[holder], reverse=True)
        return any(self._ends_one(holder, idle_s) for holder in longer[:ASKED_LIMIT])

    def _ends_one(self, holder: str, idle_s: float) -> bool:
        try:
            reply = self._channel.call(
                holder, "make_room", {"idle_s": idle_s}, timeout=ANSWER_TIMEOUT_S
            )
        except CoworkError:  # it is gone or hangs: another is asked
            return False
        return bool(reply.get("ends"))
