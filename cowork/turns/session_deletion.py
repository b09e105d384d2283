"""Deletes a project's session, in whatever workers have turns of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cowork.claude.pool.pool import Pool
from cowork.errors import StoreUnavailable, TurnInterrupted
from cowork.model import Project
from cowork.stores.protocol import Store
from cowork.turns.queues import ProjectQueues
from cowork.turns.recorder import TurnRecorder
from cowork.turns.registry import TurnRegistry
from cowork.turns.remote.commands import RemoteTurns
from cowork.turns.removals import Removals
from cowork.turns.stopping import stop_and_wait


class SessionDeletion:
    """`check_ours` raises where another process answers the project, and nobody reaches that."""

    def __init__(
        self,
        store: Store,
        pool: Pool,
        queues: ProjectQueues,
        *,
        recorder: TurnRecorder,
        registry: TurnRegistry,
        removals: Removals,
        remote: RemoteTurns | None,
        check_ours: Callable[[Project], None],
    ) -> None:
        self._store = store
        self._pool = pool
        self._queues = queues
        self._recorder = recorder
        self._holder = recorder.holder
        self._registry = registry
        self._removals = removals
        self._remote = remote
        self._check_ours = check_ours

    def delete(self, project: Project) -> bool:
        """Delete the project's session in whatever workers have turns of it; see below."""
        if self._remote is None:
            return self.delete_here(project)
        workers = self._remote.find(project) or [self._holder]
        existed = [
            self.delete_here(project)
            if worker == self._holder
            else self._remote.delete(worker, project)
            for worker in workers
        ]
        return any(existed)

    def delete_here(self, project: Project) -> bool:
        """Delete the project's session, ending its turns; False when it had none.

        What was said is gone with it: of turns that have ended nothing is kept, of those that
        this ends, that they were interrupted.  What the CLI keeps is removed when its process is
        over, before this returns where that is soon (`REMOVE_TIMEOUT_S`).
        Raises `WorkerUnreachable`, with nothing deleted, where another process runs one.
        """
        if self._remote is None:
            self._check_ours(project)
        if not self._recorder.flush():
            raise StoreUnavailable("store unavailable", retry_after=1)
        before = self._queues.turns_of(project)
        session = self._store.delete_session(project)
        turns = list(dict.fromkeys([*before, *self._queues.turns_of(project)]))
        running = [turn for turn in turns if turn.done is None]
        # A turn that ends just now may have brought its texts to the store after the deletion.
        late = [turn for turn in turns if not turn.keep_end_only()]
        stop_and_wait(running, TurnInterrupted("the project's session was deleted"))
        if late:
            self._store.forget_turns(project)
        self._registry.forget_project(project, late)
        self._pool.forget(project, session.id if session is not None else None)
        if self._remote is not None:
            self._remote.forget(project, () if session is None else session.ids)
        if session is not None:
            self._removals.add(session.ids, lambda: self._pool.is_rid_of(project))
        return session is not None or bool(running)

    def forget_here(self, project: Project, session_ids: Sequence[str]) -> None:
        """Keep nothing of sessions that another worker has deleted, nor of what they said."""
        self._registry.forget_project(project)
        if session_ids:
            self._pool.forget(project, session_ids[-1])
            self._removals.add(session_ids, lambda: self._pool.is_rid_of(project))
