"""Processes started ahead, for sessions that are yet to begin: their first token comes sooner.

A spare has told that it is ready and belongs to nobody; whoever begins a session takes it, with
the session id that it was started with.  Spares never hold up a turn: they are started when no
turn's process is, and go first when a slot is needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cowork.claude.pool.machine_limit import MachineGate, OwnLimit
from cowork.claude.pool.process_reports import ProcessReports
from cowork.claude.pool.slot import LeaseRequest, Slot, SlotState
from cowork.claude.pool.slots import Slots
from cowork.claude.process.launcher import Launcher
from cowork.claude.process.process import ClaudeProcess
from cowork.errors import CoworkError
from cowork.log import logger
from cowork.runtime.circuit_breaker import CircuitBreaker
from cowork.runtime.periodic import PeriodicThread
from cowork.telemetry.metrics import NO_METRICS

log = logger(__name__)

# Whoever took the last spare is at its first turn now, and that goes first.
START_DELAY_S = 0.5
# One that dies younger than that was no success.
MIN_UPTIME_S = 5.0
# An older one makes way for another: it knows the user's settings as they were at its start.
MAX_AGE_S = 600.0
CHECK_INTERVAL_S = 1.0
JOIN_TIMEOUT_S = 5.0


@dataclass(slots=True)
class _GiveUp:
    """Whether a start is to be given up, and whether it ever was."""

    slots: Slots
    thread: PeriodicThread
    given_up: bool = False

    def __call__(self) -> bool:
        self.given_up = self.given_up or self.thread.stopped or self.slots.waiters > 0
        return self.given_up


class Spares:
    """Keeps up to `count` processes ready in `cwd`, but always leaves a slot for a turn.

    A CLI that does not start is tried again with growing pauses; `problem` says so meanwhile.
    """

    def __init__(
        self,
        slots: Slots,
        launcher: Launcher,
        *,
        count: int,
        cwd: str | None,
        on_ready: Callable[[ClaudeProcess], None] = lambda _process: None,
        on_tick: Callable[[], None] = lambda: None,
        gate: MachineGate | None = None,
        reports: ProcessReports | None = None,
    ) -> None:
        self._slots = slots
        self._launcher = launcher
        self._count = min(count, slots.limit - 1) if cwd is not None else 0
        self._wanted = LeaseRequest(None, cwd or "", options=slots.spare_options)
        self._on_ready = on_ready
        self._on_tick = on_tick
        self._gate = gate or MachineGate(slots, OwnLimit())
        self._reports = reports or ProcessReports(NO_METRICS)
        self._breaker = CircuitBreaker()
        self._logged_fault = ""
        self._missing_since: float | None = float("-inf")
        self._ready_at: dict[Slot, float] = {}
        self._thread = PeriodicThread(
            "claude-spares", self._step, retry_s=CHECK_INTERVAL_S, woken=slots.spares_due
        )

    def start(self) -> None:
        """Begin, where any are wanted."""
        if self._count > 0:
            self._thread.start()

    def stop(self) -> None:
        """Start no more; those that are ready stay."""
        self._thread.stop()

    def join(self) -> None:
        """Wait for the end of a start that was under way when `stop` was called."""
        self._thread.join(JOIN_TIMEOUT_S)

    @property
    def problem(self) -> str | None:
        """Why there are none now, where the CLI is to blame."""
        if not self._breaker.is_open:
            return None
        return f"the Claude CLI failed to start {self._breaker.failures} times in a row"

    def saw_success(self) -> None:
        """A process that was started has shown that it works."""
        if self._breaker.failures and self._breaker.succeeded():
            log.info("CLI start recovered")
            self._slots.spares_due.set()

    def _step(self) -> float:
        """Do what is due; the seconds until something may be due again."""
        self._on_tick()
        dead = self._take_dead()
        if dead:
            for each in dead:
                self._replace_dead(each)
            return 0.0
        with self._slots.changed:
            pause = self._pause()
            slot = self._slots.add(self._wanted) if pause <= 0 else None
        if slot is not None:
            self._prepare(slot)
        return pause

    def _take_dead(self) -> list[Slot]:
        """Spares that ended or grew old, now ours to put away; those that last are a success."""
        now = time.monotonic()
        with self._slots.changed:
            spares = [slot for slot in self._slots if slot.state == SlotState.SPARE]
            self._ready_at = {slot: self._ready_at.get(slot, now) for slot in spares}
            dead = [
                slot
                for slot in spares
                if not slot.usable or now - self._ready_at[slot] >= MAX_AGE_S
            ]
            for slot in dead:
                self._slots.ending(slot, "stale")
        if any(now - self._ready_at[slot] >= MIN_UPTIME_S for slot in spares if slot not in dead):
            self.saw_success()
        return dead

    def _replace_dead(self, slot: Slot) -> None:
        age = time.monotonic() - self._ready_at.pop(slot)
        log.info("replacing a spare process", pid=slot.process and slot.process.pid, age=round(age))
        if age < MIN_UPTIME_S and not slot.discard_on_return:
            self._breaker.failed()
        self._slots.end(slot)

    def _pause(self) -> float:
        """Seconds until a spare may be started; 0 means now."""
        states = [slot.state for slot in self._slots]
        missing = states.count(SlotState.SPARE) < self._count
        now = time.monotonic()
        if not missing:
            self._missing_since = None
            return CHECK_INTERVAL_S
        if self._missing_since is None:
            self._missing_since = now
        if not self._slots.room or SlotState.STARTING in states or self._slots.waiters:
            return CHECK_INTERVAL_S
        if not Path(self._wanted.cwd).is_dir():
            return CHECK_INTERVAL_S  # it is for the operator to bring back
        return max(self._breaker.retry_in(), self._missing_since + START_DELAY_S - now, 0.0)

    def _log_failure(self, fault: CoworkError) -> None:
        """The first failures in a row and ever fewer of the later ones, or another fault."""
        failures = self._breaker.failures
        is_news = fault.message != self._logged_fault or failures & (failures - 1) == 0
        self._logged_fault = fault.message
        tell = log.warning if is_news else log.debug
        tell(
            "spare process failed to start",
            why=fault.message,
            failures=failures,
            next_try_in=round(self._breaker.retry_in(), 1),
        )

    def _prepare(self, slot: Slot) -> None:
        given_up = _GiveUp(self._slots, self._thread)
        if not self._gate.try_enter(slot):
            with self._slots.changed:
                self._slots.free(slot)
            self._thread.pause(CHECK_INTERVAL_S)
            return
        try:
            with self._reports.starting("spare", given_up):
                process = self._launcher.start_prewarmed(
                    self._wanted.cwd,
                    options=self._wanted.options,
                    given_up=given_up,
                    on_spawn=slot.attach,
                )
        except BaseException as fault:
            with self._slots.changed:
                self._slots.free(slot)
            if not isinstance(fault, CoworkError):
                raise
            if not (given_up.given_up or self._thread.stopped):
                self._breaker.failed()
                self._log_failure(fault)
            return
        self._on_ready(process)
        with self._slots.changed:
            closed = self._slots.closed
            self._slots.begun(slot, SlotState.ENDING if closed else SlotState.SPARE)
        if closed:
            self._slots.end(slot)
