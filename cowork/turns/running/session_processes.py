"""The process that a turn's session needs: leased, and set up as the turn's question wants it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from cowork.claude.pool.pool import Pool
from cowork.claude.process.continuation import Continuation
from cowork.claude.process.process import ClaudeProcess
from cowork.claude.stream_json.failures import DirectoryGone
from cowork.claude.transcript import Transcripts
from cowork.claude.turn_options import DEFAULT, TurnOptions
from cowork.errors import TurnInterrupted, WorkerLost
from cowork.log import logger
from cowork.model import Approval, Session
from cowork.stores.protocol import Store
from cowork.turns.policy import TurnPolicy
from cowork.turns.reporter import TurnReporter
from cowork.turns.running.result_wait import TurnRun
from cowork.turns.transcript_sync import TranscriptSync
from cowork.turns.turn import Turn

log = logger(__name__)


class SessionProcesses:
    """Of any number of turns; whoever leases gives back."""

    def __init__(
        self,
        store: Store,
        pool: Pool,
        policy: TurnPolicy,
        *,
        transcripts: Transcripts,
        sync: TranscriptSync | None,
        reporter: TurnReporter,
    ) -> None:
        self._store = store
        self._pool = pool
        self._policy = policy
        self._transcripts = transcripts
        self._sync = sync
        self._reporter = reporter

    def lease(self, run: TurnRun, known: Session | None) -> ClaudeProcess:
        """A process of the session, or of a new one where the project has none."""
        turn, wanted_at = run.turn, time.monotonic()
        process = self._pool.lease(
            turn.project,
            known.cwd if known is not None else self._policy.workspace.cwd(turn.project),
            session_id=known.id if known is not None else None,
            turns=known.turns if known is not None else None,
            options=turn.question.options,
            model=self._model_to_start(turn, known),
            before_start=partial(self._check_directory, known),
            given_up=run.deadline.check,
        )
        self._reporter.got_process(turn, process, wanted_at, known=known is not None)
        return process

    def lease_again(self, run: TurnRun, session: Session, approval: Approval) -> ClaudeProcess:
        """A process that goes on with a parked turn, and asks again what was answered."""
        turn, wanted_at = run.turn, time.monotonic()
        process = self._pool.lease(
            turn.project,
            session.cwd,
            session_id=session.id,
            options=turn.question.options,
            # Another one is what the session goes on with by itself.
            model=session.model if self._pool.offers.is_listed(session.model or "") else None,
            continuation=Continuation(
                turn.append, turn.text, (approval.tool_use_id, approval.tool), run.meter
            ),
            before_start=partial(self._defer_tool, session, approval),
            given_up=lambda: turn.stop_reason is not None,
        )
        self._reporter.got_process(turn, process, wanted_at, known=True)
        return process

    def _model_to_start(self, turn: Turn, known: Session | None) -> str | None:
        """The model that a process has to be started with, for the question or the session.

        The CLI would go on with the one that an earlier question has set.
        """
        wanted = turn.question.turn_options.model
        if wanted is not None and self._pool.offers.is_listed(wanted):
            return wanted
        if known is not None and known.model is not None:
            return self._pool.offers.default_model()
        return None

    def _check_directory(self, known: Session | None) -> None:
        """Raise where there is none to start a process in; one that has a process is there."""
        if known is None:
            self._policy.workspace.check()
        elif not self._policy.workspace.still_has(known.cwd):
            raise DirectoryGone("the session's directory is gone")
        elif self._sync is not None:
            self._sync.restore(known)

    def _defer_tool(self, session: Session, approval: Approval) -> None:
        """Have the process that is about to start ask again; raises where it would not."""
        self._check_directory(session)
        try:
            if self._transcripts.defer_tool(session.cwd, session.id, approval.tool_use_id):
                return
        except OSError as fault:
            log.error("transcript unusable", session_id=session.id, error=str(fault))
        raise WorkerLost("the server's process was lost while the turn waited for an answer")

    def configured(self, run: TurnRun, process: ClaudeProcess, session: Session) -> Session:
        """The session, whose process has taken on what the question wants."""
        wanted = run.turn.question.turn_options
        if run.meter is not None or run.approvals is not None:
            process.wait_idle()
        if run.meter is not None:
            run.meter.begin(process.requests)
        if run.approvals is not None:
            run.approvals.begin_process(process)
        if wanted == process.configuration.current == DEFAULT:
            return session
        process.wait_idle()
        if wanted.model is not None and session.model != wanted.model:
            # Before it is so: a process that is killed meanwhile has set it for good.
            session = replace(session, model=wanted.model)
            self.put_session(session, run)
        self._apply_options(process, wanted)
        return session if wanted.model is not None else replace(session, model=None)

    def configure_again(self, run: TurnRun, process: ClaudeProcess) -> None:
        """Have a process that goes on with a turn take on what its question wants; may raise."""
        if run.meter is not None:
            run.meter.begin(process.requests)
        self._apply_options(process, run.turn.question.turn_options)

    def _apply_options(self, process: ClaudeProcess, wanted: TurnOptions) -> None:
        offers, current = self._pool.offers, process.configuration.current
        if wanted == current:
            return
        servers: Mapping[str, Mapping[str, Any]] = offers.mcp_servers
        to_default = wanted.model is None and current.model is not None
        default = offers.default_model() if to_default else ""
        process.configuration.apply(wanted, default_model=default, servers=servers)

    def put_session(self, session: Session, run: TurnRun) -> None:
        """Keep it as the project's; raises where somebody has deleted that meanwhile."""
        if not self._store.put_session(session, run.claim):
            raise TurnInterrupted("the project's session was deleted")
