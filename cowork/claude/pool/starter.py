"""Starts the processes of new slots, and learns from each whether the CLI starts."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from cowork.claude.pool.machine_limit import MachineGate
from cowork.claude.pool.process_reports import ProcessReports
from cowork.claude.pool.slot import LeaseRequest, Slot, SlotState
from cowork.claude.pool.slots import Slots
from cowork.claude.pool.start_probe import StartProbe
from cowork.claude.process.launcher import Launcher, Throwaway
from cowork.claude.process.process import ClaudeProcess
from cowork.errors import AtCapacity, ClaudeUnavailable, ShuttingDown
from cowork.runtime.ids import new_id

THROWAWAY = Throwaway()
# How often room is looked for on a machine that has too many processes, and how often the other
# workers are asked for it.
ROOM_POLL_INTERVAL_S = 0.1
ROOM_ASK_INTERVAL_S = 0.2
# How long a process may take to end that another worker has begun to end for us: it is idle, and
# most are gone in a few hundredths.  Then somebody is asked again.
ROOM_TIMEOUT_S = 3.0


class ProcessStarter:
    """Starts processes for leases, and for the `probe` that tries where no lease does.

    `cwd` is where a start that fails is nobody's project's fault.  `on_skills` gets a directory
    and the skills that a process has listed there; `on_success` is called after each start that
    went well.  Where the machine (`gate`) has too many, a start waits `timeout` seconds at most.
    """

    def __init__(
        self,
        slots: Slots,
        launcher: Launcher,
        *,
        cwd: str | None,
        on_skills: Callable[[str, tuple[str, ...] | None], None],
        on_success: Callable[[], None],
        gate: MachineGate,
        timeout: float,
        reports: ProcessReports,
    ) -> None:
        self._slots = slots
        self._launcher = launcher
        self._cwd = cwd
        self._on_skills = on_skills
        self._on_success = on_success
        self._gate = gate
        self._reports = reports
        self._timeout = timeout
        self.probe = StartProbe(self._probe)

    def fill(
        self,
        slot: Slot,
        given_up: Callable[[], bool],
        *,
        ahead: bool = False,
        throwaway: Throwaway | None = None,
    ) -> ClaudeProcess:
        """Start the process of a new slot, for a question that waits or (`ahead`) is to come.

        Raises as `Launcher.start` does, `ShuttingDown` and `AtCapacity`; the slot is free then.
        """
        wanted = slot.wanted
        try:
            self._wait_for_room(slot, given_up)
            kind = "resumed" if wanted.session_id is not None else "new"
            with self._reports.starting("skills" if throwaway else kind, given_up):
                process = self._start(slot, given_up, ahead=ahead, throwaway=throwaway)
        except BaseException as fault:
            with self._slots.changed:
                self._slots.free(slot)
            if isinstance(fault, ClaudeUnavailable) and not given_up():
                self._report_failure(wanted, fault)
            raise
        self.probe.succeeded()
        self._on_success()
        with self._slots.changed:
            self._slots.begun(slot, SlotState.BUSY)
            slot.known_turns = wanted.turns
            closed = self._slots.closed
        if closed:
            self.end_leased(process)
            raise ShuttingDown("the server is shutting down")
        return process

    def _wait_for_room(self, slot: Slot, given_up: Callable[[], bool]) -> None:
        """Wait until the machine has room for one more; who has been idle for longest goes.

        One of ours goes only where no other worker has one that has been idle for longer: however
        long that one takes to end, ours would be asked again first.
        """
        deadline = time.monotonic() + self._timeout
        ask_at = 0.0
        while not self._gate.try_enter(slot):
            if time.monotonic() >= ask_at:
                is_promised = self._gate.ask_for_room()
                if not is_promised and self._end_own(slot.wanted.owner):
                    continue
                ask_at = time.monotonic() + (ROOM_TIMEOUT_S if is_promised else ROOM_ASK_INTERVAL_S)
            if self._slots.closed or given_up() or time.monotonic() >= deadline:
                raise AtCapacity("the machine has too many Claude processes", retry_after=5)
            time.sleep(ROOM_POLL_INTERVAL_S)

    def _end_own(self, owner: str | None) -> bool:
        """End a process of this worker that idles; whether there was one."""
        with self._slots.changed:
            victim = self._slots.evict_lru(owner)
        if victim is None:
            return False
        self._slots.end(victim)
        return True

    def _start(
        self,
        slot: Slot,
        given_up: Callable[[], bool],
        *,
        ahead: bool,
        throwaway: Throwaway | None,
    ) -> ClaudeProcess:
        wanted = slot.wanted
        if ahead and wanted.begins_session:
            process = self._launcher.start_prewarmed(
                wanted.cwd,
                options=wanted.options,
                given_up=given_up,
                owner=wanted.owner,
                on_spawn=slot.attach,
            )
            self.saw_prewarmed(process)
            return process
        return self._launcher.start(
            wanted.session_id or new_id(),
            wanted.cwd,
            resume=wanted.session_id is not None,
            options=wanted.options,
            model=wanted.model,
            continuation=wanted.continuation,
            given_up=given_up,
            throwaway=throwaway,
            owner=wanted.owner,
            on_spawn=slot.attach,
        )

    def _report_failure(self, wanted: LeaseRequest, fault: ClaudeUnavailable) -> None:
        if wanted.cwd == self._cwd:
            self.probe.failed(fault.message)
        else:
            self.probe.doubt()

    def saw_prewarmed(self, process: ClaudeProcess) -> None:
        """A process that was started ahead is ready, and has listed its skills."""
        self.probe.succeeded()
        self._on_skills(process.cwd, process.skills)

    def end_leased(self, process: ClaudeProcess) -> None:
        """End a leased process and free its slot; takes as long as its escalation."""
        with self._slots.changed:
            slot = self._slots.ending(self._slots.of(process), "failed")
        if slot is not None:
            self._slots.end(slot)

    def _probe(self) -> None:
        """Start a process for nobody, where there is room for it, and end it."""
        with self._slots.changed:
            there = self._cwd is not None and Path(self._cwd).is_dir()
            room = there and self._slots.room and not self._slots.waiting
            if not room or self._slots.closed:
                return
            slot = self._slots.add(LeaseRequest(None, self._cwd or ""))
        process = self.fill(
            slot, lambda: self._slots.closed or self._slots.waiters > 0, throwaway=THROWAWAY
        )
        slot.end_why = "throwaway"
        process.shorten_timeouts()
        self.end_leased(process)
