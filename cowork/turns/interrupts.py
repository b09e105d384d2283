"""Interrupting turns in whatever worker they run, and finding out whether another runs them."""

from __future__ import annotations

import time

from cowork.errors import ProjectBusy
from cowork.model import Project
from cowork.stores.protocol import Store
from cowork.turns.outcome import TurnState, interrupted, unreachable
from cowork.turns.queues import OnBusy, ProjectQueues
from cowork.turns.registry import TurnRegistry
from cowork.turns.remote.commands import RemoteTurns
from cowork.turns.stopping import STOP_TIMEOUT_S
from cowork.turns.turn import Turn


class Interrupts:
    """Without `remote`, what another process runs is out of reach."""

    def __init__(
        self,
        store: Store,
        queues: ProjectQueues,
        *,
        holder: str,
        registry: TurnRegistry,
        remote: RemoteTurns | None,
    ) -> None:
        self._store = store
        self._queues = queues
        self._holder = holder
        self._registry = registry
        self._remote = remote

    def interrupt(self, turn: Turn) -> None:
        """Interrupt a turn and wait, at most a second, for its end; one that ended is no error.

        Raises `WorkerUnreachable` for one that another process runs, and `StoreUnavailable`.
        """
        if self._registry.remote.runs_elsewhere(turn):
            if self._remote is None:
                raise unreachable()
            self._remote.interrupt(turn)
            return
        turn.stop(interrupted())
        turn.wait(time.monotonic() + STOP_TIMEOUT_S)

    def stop_waiting(self, turn: Turn) -> None:
        """Take a turn that still waits for its project out of the queue, in whatever worker.

        Raises `WorkerUnreachable` and `StoreUnavailable`.
        """
        self._registry.remote.runs_elsewhere(turn)  # which has it be as it is now
        if turn.state is TurnState.QUEUED:
            self.interrupt(turn)

    def interrupt_project(self, project: Project) -> Turn | None:
        """Interrupt what the project is answering now, as `interrupt`; None for nothing."""
        if self._remote is None:
            return self.interrupt_project_here(project)
        for worker in self._remote.find(project):
            if worker == self._holder:
                turn = self.interrupt_project_here(project)
            else:
                turn = self._remote.interrupt_project(worker, project)
            if turn is not None:
                return turn
        return None

    def interrupt_project_here(self, project: Project) -> Turn | None:
        """As `interrupt_project`, of what this worker runs."""
        if self._remote is None:
            self.check_ours(project)
        turn = self._queues.running(project)
        if turn is not None:
            self.interrupt(turn)
        return turn

    def check_ours(self, project: Project) -> None:
        """Raise `WorkerUnreachable` where another process answers the project's question.

        Nothing that we could do would reach it, so that nothing may be said to have been done.
        """
        if self._store.claimed_elsewhere(project):
            raise unreachable()

    def check_free_elsewhere(self, project: Project, on_busy: OnBusy) -> None:
        """Apply `on_busy` to a project that another process is answering."""
        if on_busy == "interrupt":
            self._interrupt_elsewhere(project)
        elif on_busy == "reject" and self._store.claimed_elsewhere(project):
            raise ProjectBusy("the project is answering another question")

    def _interrupt_elsewhere(self, project: Project) -> None:
        """Interrupt what a former worker of the project still answers."""
        if self._remote is None or not self._store.claimed_elsewhere(project):
            self.check_ours(project)
            return
        for worker in self._remote.find(project):
            if worker != self._holder:
                self._remote.interrupt_project(worker, project)
