"""Finds out what a project is doing, in whatever worker."""

from __future__ import annotations

from cowork.claude.pool.pool import Pool
from cowork.model import Project
from cowork.turns.outcome import TurnState
from cowork.turns.project_state import ProjectState
from cowork.turns.queues import ProjectQueues
from cowork.turns.remote.commands import RemoteTurns


class ProjectStates:
    """Of this worker's queues and processes, and through `remote` of others'."""

    def __init__(
        self, queues: ProjectQueues, pool: Pool, *, holder: str, remote: RemoteTurns | None
    ) -> None:
        self._queues = queues
        self._pool = pool
        self._holder = holder
        self._remote = remote

    def describe(self, project: Project) -> ProjectState:
        """What the project is doing, in whatever worker; raises `WorkerUnreachable`."""
        if self._remote is None:
            return self.describe_here(project)
        found = [
            self.describe_here(project)
            if worker == self._holder
            else self._remote.describe(worker, project)
            for worker in self._remote.find(project) or [self._holder]
        ]
        return next((each for each in found if each.state != "idle"), found[0])

    def describe_here(self, project: Project) -> ProjectState:
        """As `describe`, of what this worker runs."""
        turns = [turn for turn in self._queues.turns_of(project) if turn.done is None]
        running = [turn for turn in turns if turn.state is not TurnState.QUEUED]
        waits = any(turn.waiting.ids for turn in running)
        shown = self._pool.processes(lambda each: each == project)
        return ProjectState(
            state="waiting" if waits else "running" if running else "idle",
            queued=len(turns) - len(running),
            process=(shown[0].pid, shown[0].state.value, shown[0].memory) if shown else None,
            turn_id=next((turn.id for turn in running if turn.question.change is None), None),
        )
