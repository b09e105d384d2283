"""Ends processes that have idled too long, died, or grown too large; measures what they take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from cowork.claude.pool import memory
from cowork.claude.pool.slot import Slot, SlotState
from cowork.claude.pool.slots import Slots
from cowork.gevent_compat import run_in_native_thread
from cowork.log import logger
from cowork.runtime.periodic import PeriodicThread

log = logger(__name__)

# How often at most a process is measured for its limit, and for whoever asks; seconds.
REAP_INTERVAL_S = 5.0
MEMORY_MAX_AGE_S = 1.0
# So long is a process left unmeasured that is never found idle; seconds.
BUSY_MEASURE_INTERVAL_S = 300.0
# Between two processes that nobody waits for, at most; seconds.
MEASURE_PAUSE_S = 0.02


class IdleReaper:
    """Reaps from a `thread` of its own, to be started and stopped by whoever has this.

    A process that takes more than `memory_limit` bytes (0 is no limit) is ended when its turn is
    over; `idle_timeout` and `interval` are seconds.  `on_tick` is called first,
    `on_measured` with what a process takes.
    """

    def __init__(
        self,
        slots: Slots,
        *,
        idle_timeout: float,
        memory_limit: int,
        interval: float = REAP_INTERVAL_S,
        on_tick: Callable[[], None] = lambda: None,
        on_measured: Callable[[int | None], None] = lambda _bytes: None,
    ) -> None:
        self._slots = slots
        self._idle_timeout = idle_timeout
        self._memory_limit = memory_limit
        self._on_tick = on_tick
        self._on_measured = on_measured
        self._interval = min(interval, max(0.05, idle_timeout))
        self._measuring = threading.Lock()
        self.thread = PeriodicThread(
            "claude-reaper", self._reap_once, first_s=self._interval, retry_s=self._interval
        )

    def _reap_once(self) -> float:
        self._on_tick()
        if self._memory_limit:
            with self._slots.changed:
                now = time.monotonic()
                asked = [slot for slot in self._slots if _needs_measuring(slot, now)]
            self._measure_paced(asked)
        now = time.monotonic()
        with self._slots.changed:
            due = [slot for slot in self._slots if self._is_due(slot, now)]
            for slot in due:
                self._slots.ending(slot, "idle")
        for slot in due:
            self._slots.end(slot)
        return self._interval

    def _measure_paced(self, slots: Sequence[Slot]) -> None:
        """One after the other: each takes the interpreter from the event loop, now and then."""
        pause = min(MEASURE_PAUSE_S, self._interval / max(1, len(slots)))
        for slot in slots:
            self.measure([slot])
            if self.thread.pause(pause):
                return

    def _is_due(self, slot: Slot, now: float) -> bool:
        """Whether an idle process is to be ended; a busy one that is too large is marked."""
        if slot.process is None or slot.state not in (SlotState.IDLE, SlotState.BUSY):
            return False
        if (
            self._memory_limit
            and (slot.memory or 0) > self._memory_limit
            and not slot.discard_on_return
        ):
            slot.discard_on_return, slot.end_why = True, "memory"
            log.info("process exceeds its memory limit", pid=slot.process.pid, bytes=slot.memory)
        if slot.state == SlotState.BUSY:
            return False
        idled = now - slot.process.last_used >= self._idle_timeout
        return slot.discard_on_return or idled or not slot.process.alive

    def measure(self, slots: Iterable[Slot], fresh: float = 0.0) -> None:
        """Bring up to date what these take, but what was measured in the last `fresh` seconds.

        A few milliseconds a process, off the event loop.
        """
        with self._measuring:
            now = time.monotonic()
            old = [each for each in slots if each.process and now - each.measured >= fresh]
            pids = [each.process.pid for each in old if each.process]
            if not pids:
                return
            found = run_in_native_thread(lambda: [memory.tree_pss(pid) for pid in pids])
            for slot, taken in zip(old, found, strict=True):
                slot.memory, slot.measured = taken, now
                self._on_measured(taken)


def _needs_measuring(slot: Slot, now: float) -> bool:
    """Whether the process has served a turn since it was last looked at.

    While it serves another one it is left alone, but for long: nothing would come of it until the
    turn is over, and hundreds of streams would feel it.
    """
    process = slot.process
    if process is None or process.turns == slot.measured_turns:
        return False
    known = max(slot.measured, process.started)
    if slot.state != SlotState.IDLE and now - known < BUSY_MEASURE_INTERVAL_S:
        return False
    slot.measured_turns = process.turns
    return True
