"""The resident processes: one a session, kept between turns, a bounded number of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cowork.claude import orphans
from cowork.claude.launch_options import DEFAULT, LaunchOptions
from cowork.claude.pool.acquirer import SlotAcquirer
from cowork.claude.pool.machine_limit import MachineGate, MachineLimit, OwnLimit
from cowork.claude.pool.memory import limit_by_memory
from cowork.claude.pool.offer_listing import make_offers
from cowork.claude.pool.process_reports import ProcessReports
from cowork.claude.pool.reaper import MEMORY_MAX_AGE_S, IdleReaper
from cowork.claude.pool.shutdown import end_all
from cowork.claude.pool.skill_listing import SkillListing
from cowork.claude.pool.slot import LeaseRequest, PoolCounts, PoolLoad, ProcessInfo, SlotState
from cowork.claude.pool.slots import Slots
from cowork.claude.pool.spares import Spares
from cowork.claude.pool.starter import ProcessStarter
from cowork.claude.pool.warmer import Warmer
from cowork.claude.process.continuation import Continuation
from cowork.claude.process.launcher import Launcher, Throwaway
from cowork.claude.process.process import ClaudeProcess
from cowork.errors import ProcessBusy, ProcessNotFound
from cowork.log import logger
from cowork.model import Project
from cowork.telemetry.metrics import NO_METRICS, Metrics

log = logger(__name__)

# For a thread that was told to stop.
JOIN_TIMEOUT_S = 1.0
# Longer than the escalation of an end may take; a project's own process may besides have to start.
OWN_PROCESS_TIMEOUT_S = 30.0


class Pool:
    """Leases a process to one turn at a time.

    `lease` finds a project's process or starts one, `give_back` keeps it for the next turn.  When
    all slots are taken, a spare goes first, then the idle process that was used longest ago; a
    busy one never does.  Owners who wait take turns (`slots.py`), `owner_share` slots are a share.
    Durations are seconds, `memory_limit` bytes; a limit of 0 is none.
    """

    def __init__(
        self,
        launcher: Launcher,
        *,
        limit: int,
        idle_timeout: float,
        slot_timeout: float,
        spares: int = 0,
        spare_cwd: str | None = None,
        spare_options: LaunchOptions = DEFAULT,
        memory_limit: int = 0,
        max_turns: int = 0,
        owner_share: int = 0,
        bundled_skills: bool = False,
        machine: MachineLimit | None = None,
        mcp_servers: Mapping[str, Mapping[str, Any]] | None = None,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        reports = ProcessReports(metrics)
        self._launcher = launcher
        self._max_turns = max_turns
        self._slots = Slots(limit or limit_by_memory(), owner_share, spare_options)
        self._changed = self._slots.changed
        self._slots.on_ended = lambda slot, was_alive: reports.ended(
            slot, was_alive=was_alive, is_closing=self._slots.closed
        )
        self._gate = MachineGate(self._slots, machine or OwnLimit())
        self._generation = 0
        self._reaper = IdleReaper(
            self._slots,
            idle_timeout=idle_timeout,
            memory_limit=memory_limit,
            on_tick=self._renew,
            on_measured=reports.measured,
        )
        self._acquirer = SlotAcquirer(
            self._slots,
            timeout=slot_timeout,
            own_timeout=launcher.timeout + OWN_PROCESS_TIMEOUT_S,
            give_back=self.give_back,
        )
        self.warm = Warmer(self._slots, self._lease, self.give_back).warm
        listing = SkillListing(launcher, self._throwaway_process)
        self._skills = listing.skills(bundled_skills=bundled_skills)
        self.has_skill, self.saw_skills = self._skills.has, self._skills.saw
        self.offers = make_offers(
            self._throwaway_process, self._skills, lambda: spare_cwd, mcp_servers or {}
        )
        self._starter = ProcessStarter(
            self._slots,
            launcher,
            cwd=spare_cwd,
            on_skills=self.saw_skills,
            on_success=self._saw_success,
            gate=self._gate,
            timeout=slot_timeout,
            reports=reports,
        )
        self.spares = Spares(
            self._slots,
            launcher,
            count=spares,
            cwd=spare_cwd,
            on_ready=self._starter.saw_prewarmed,
            on_tick=self._renew,
            gate=self._gate,
            reports=reports,
        )

    def make_room(self, idle_s: float) -> bool:
        """Begin to end a process, if one has been idle for longer than that; whether one has.

        Another worker of the machine needs the room, and sees by itself when there is some.
        """
        with self._changed:
            is_longer = self._slots.longest_idle_s() > idle_s
            victim = self._slots.evict_lru(None) if is_longer else None
        if victim is None:
            return False
        end = threading.Thread(target=self._slots.end, args=(victim,), daemon=True)
        try:
            end.start()
        except RuntimeError:  # there are no more threads
            self._slots.end(victim)
        return True

    def report(self) -> None:
        """Tell the machine's other workers how many processes there are here."""
        self._gate.report()

    def on_shortage(self, call: Callable[[], None]) -> None:
        """What is called now and then while somebody waits and every process is busy."""
        self._slots.on_shortage = call

    def start(self) -> None:
        """Begin to keep spares ready; processes can be leased without it."""
        self.spares.start()

    def lease(
        self,
        project: Project | None,
        cwd: str,
        *,
        session_id: str | None = None,
        turns: int | None = None,
        options: LaunchOptions = DEFAULT,
        model: str | None = None,
        continuation: Continuation | None = None,
        before_start: Callable[[], None] = lambda: None,
        given_up: Callable[[], bool] = lambda: False,
    ) -> ClaudeProcess:
        """A process of that session, or of a new one; `give_back` it or `discard` it.

        `turns` is how many the session has had: one that was given back with another number has
        missed some, and is replaced.  `model` is what one that has to be started is started with;
        for a `continuation` one always is.  `before_start` is called where a process has to be
        started, and none is where it raises.
        Waits for a slot and for a start, both bounded, and no longer than until `given_up()`.
        Raises `SessionMissing`, `SessionInUse`, `AtCapacity`, `ShuttingDown`,
        `ClaudeUnavailable`.
        """
        wanted = LeaseRequest(project, cwd, session_id, options, turns, model, continuation)
        return self._lease(wanted, given_up, before_start=before_start)

    def _lease(
        self,
        wanted: LeaseRequest,
        given_up: Callable[[], bool],
        *,
        before_start: Callable[[], None] = lambda: None,
        ahead: bool = False,
    ) -> ClaudeProcess:
        self._renew()
        slot = self._acquirer.acquire(wanted, given_up)
        if slot.process is None:
            try:
                before_start()
            except BaseException:
                with self._changed:
                    self._slots.free(slot)
                raise
            return self._starter.fill(slot, given_up, ahead=ahead)
        if slot.process.turns == 0:
            self._saw_success()
        return slot.process

    def _saw_success(self) -> None:
        self.spares.saw_success()

    def give_back(self, process: ClaudeProcess, turns: int | None = None) -> None:
        """Keep the process for its session's next turn, or end it if it is no longer fit.

        `turns` is how many the session has had now; None is as many as before.
        """
        worn = 0 < self._max_turns <= process.turns
        with self._changed:
            slot = self._slots.of(process)
            keep = slot is not None and not slot.discard_on_return and not self._slots.closed
            keep = keep and process.alive and not process.busy and not worn
            if keep and slot is not None:
                slot.known_turns = slot.known_turns if turns is None else turns
                self._slots.begun(slot, SlotState.IDLE)
            elif slot is not None and worn:
                slot.end_why = slot.end_why or "turns"
        if keep:
            self._reaper.thread.start()
        else:
            self.discard(process)

    def discard(self, process: ClaudeProcess) -> None:
        """End a leased process and free its slot; takes as long as its escalation."""
        self._starter.end_leased(process)

    def forget(self, project: Project, session_id: str | None) -> None:
        """End the process of a session that is no more, at once or when its turn is over.

        Also one that was readied for the project and has no session yet.
        """
        with self._changed:
            theirs = [
                slot
                for slot in self._slots
                if slot.project == project
                and (slot.process is None or not slot.process.turns or slot.is_of(session_id))
            ]
            idle = [slot for slot in theirs if slot.state == SlotState.IDLE]
            for slot in theirs:
                slot.discard_on_return, slot.end_why = True, "deleted"
            for slot in idle:
                self._slots.ending(slot, "deleted")
        for slot in idle:
            self._slots.end(slot)

    def is_rid_of(self, project: Project) -> bool:
        """Whether every process of the project that `forget` was to end is over."""
        with self._changed:
            return not any(
                slot.project == project and slot.discard_on_return for slot in self._slots
            )

    def end_idle(self, process_id: str, visible: Callable[[Project | None], bool]) -> None:
        """End a process of those that idles; its session's next question resumes it.

        Raises `ProcessNotFound`, and `ProcessBusy` for one that does something.
        """
        with self._changed:
            found = (slot for slot in self._slots if slot.process and slot.process.id == process_id)
            slot = next((each for each in found if visible(each.project)), None)
            if slot is None:
                raise ProcessNotFound("no such process")
            if slot.state not in (SlotState.IDLE, SlotState.SPARE):
                raise ProcessBusy(f"the process is {slot.state.value}")
            self._slots.ending(slot, "asked")
        self._slots.end(slot)

    def counts(self) -> PoolCounts:
        """How many processes there are now."""
        with self._changed:
            return self._slots.counts()

    def measured_bytes(self) -> int:
        """What the processes took that are there, when each was last measured."""
        with self._changed:
            return sum(slot.memory or 0 for slot in self._slots)

    def load(self) -> PoolLoad:
        """What the other workers are told of it."""
        with self._changed:
            return PoolLoad(
                self._slots.counts(), self._slots.project_count(), self._slots.longest_idle_s()
            )

    def processes(self, visible: Callable[[Project | None], bool]) -> list[ProcessInfo]:
        """The processes of those projects, and of none (None); takes some milliseconds of each.

        What a process takes is measured at most once a second, off the event loop.
        """
        with self._changed:
            shown = [slot for slot in self._slots if slot.process and visible(slot.project)]
        self._reaper.measure(shown, MEMORY_MAX_AGE_S)
        return [info for slot in shown if (info := slot.info()) is not None]

    @contextmanager
    def _throwaway_process(self, cwd: str, throwaway: Throwaway) -> Iterator[ClaudeProcess]:
        """A process of a session that nobody goes on with, ended behind the `with`."""
        slot = self._acquirer.acquire(LeaseRequest(None, cwd), lambda: False)
        process = self._starter.fill(slot, lambda: False, throwaway=throwaway)
        try:
            yield process
        finally:
            slot.end_why = "throwaway"
            process.shorten_timeouts()
            self.discard(process)

    def _renew(self) -> None:
        """Have the processes of a CLI that was replaced end when they are idle."""
        generation = self._launcher.generation()
        if generation == self._generation:
            return
        with self._changed:
            if generation > self._generation:
                self._generation = generation
                self._slots.retire()
                self._skills.forget()
                self.offers.forget()
                log.info("CLI replaced, its former processes end when idle")

    @property
    def start_problem(self) -> str | None:
        """Why the last process that was wanted did not start, if it did not.  Never waits."""
        return self._starter.probe.problem

    def close(self) -> None:
        """End every process, all at once, with the short timeouts: in about two seconds."""
        self.spares.stop()
        self._starter.probe.close()
        self._reaper.thread.stop()
        end_all(self._slots)
        self._reaper.thread.join(JOIN_TIMEOUT_S)
        self.spares.join()
        self._starter.probe.join()
        orphans.sweep_own()
        self._launcher.close()
