"""Readies a project's process before its question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cowork.claude.launch_options import DEFAULT, LaunchOptions
from cowork.claude.pool.slot import LeaseRequest, SlotState
from cowork.claude.pool.slots import Slots
from cowork.claude.process.process import ClaudeProcess
from cowork.claude.stream_json.failures import SessionMissing
from cowork.errors import AtCapacity
from cowork.model import Project


class Lease(Protocol):
    """Leases a process as the pool does; `ahead` of its question."""

    def __call__(
        self, wanted: LeaseRequest, given_up: Callable[[], bool], *, ahead: bool
    ) -> ClaudeProcess: ...


class Warmer:
    """Leases processes for no turn, and gives them back to idle."""

    def __init__(
        self, slots: Slots, lease: Lease, give_back: Callable[[ClaudeProcess], None]
    ) -> None:
        self._slots = slots
        self._lease = lease
        self._give_back = give_back

    def warm(
        self,
        project: Project,
        cwd: str,
        session_id: str | None,
        turns: int | None = None,
        options: LaunchOptions = DEFAULT,
    ) -> None:
        """Have a process ready for the project's next turn, with these options; it idles till then.

        Nothing happens where there is one already, busy or idle, whatever its options.  A session
        that the CLI no longer has gets a process for a new one.  Raises as `Pool.lease`.
        """
        if self._is_resident(project):
            return
        try:
            process = self._lease_for_later(LeaseRequest(project, cwd, session_id, options, turns))
        except AtCapacity:
            if self._is_busy(project):
                return
            raise
        self._give_back(process)

    def _lease_for_later(self, wanted: LeaseRequest) -> ClaudeProcess:
        def given_up() -> bool:
            return wanted.project is not None and self._is_busy(wanted.project)

        try:
            return self._lease(wanted, given_up, ahead=True)
        except SessionMissing:
            new = LeaseRequest(wanted.project, wanted.cwd, options=wanted.options)
            return self._lease(new, given_up, ahead=True)

    def _is_resident(self, project: Project) -> bool:
        with self._slots.changed:
            return any(
                slot.project == project
                and slot.state in (SlotState.BUSY, SlotState.IDLE)
                and slot.usable
                for slot in self._slots
            )

    def _is_busy(self, project: Project) -> bool:
        with self._slots.changed:
            return any(
                slot.project == project and slot.state == SlotState.BUSY for slot in self._slots
            )
