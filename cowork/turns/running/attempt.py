"""One try at a turn with one process: lease it, ask it or go on with it, end the turn."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from cowork.claude import command
from cowork.claude.installation import ClaudeCli
from cowork.claude.pool.pool import Pool
from cowork.claude.process.pending_answer import PendingAnswer
from cowork.claude.process.process import ClaudeProcess
from cowork.claude.stream_json.failures import ProcessGone, RequestRefused
from cowork.claude.stream_json.result import Result
from cowork.claude.transcript import Transcripts
from cowork.errors import (
    ClaudeNotAuthenticated,
    CoworkError,
    SessionUnusable,
    TurnInterrupted,
    WorkerLost,
)
from cowork.log import logger
from cowork.model import Approval, Exchange, Session
from cowork.runtime.ids import new_id
from cowork.stores.protocol import Store
from cowork.turns.earlier_work import EarlierWork
from cowork.turns.finisher import TurnFinisher
from cowork.turns.outcome import interrupted
from cowork.turns.policy import TurnPolicy
from cowork.turns.running.follow_ups import FollowUps, Kept
from cowork.turns.running.result_wait import TurnRun, wait_for_result
from cowork.turns.running.session_processes import SessionProcesses
from cowork.turns.sessions import (
    new_session,
    session_unusable,
    with_transcript_checked,
    with_tried,
)
from cowork.turns.transcript_sync import TranscriptSync
from cowork.turns.turn import Turn

log = logger(__name__)


class Attempts:
    """Tries, one call each, of any number of turns."""

    def __init__(
        self,
        store: Store,
        pool: Pool,
        cli: ClaudeCli,
        finisher: TurnFinisher,
        policy: TurnPolicy,
        *,
        transcripts: Transcripts,
        sync: TranscriptSync | None = None,
    ) -> None:
        self.follow_ups = FollowUps()
        self.processes = SessionProcesses(
            store, pool, policy, transcripts=transcripts, sync=sync, reporter=finisher.reporter
        )
        self._store = store
        self._pool = pool
        self._cli = cli
        self._finisher = finisher
        self._policy = policy
        self._transcripts = transcripts
        self._sync = sync

    def ask(
        self,
        run: TurnRun,
        known: Session | None,
        earlier: list[Exchange],
        *,
        refused: Session | None,
        given_up: tuple[str, ...],
    ) -> None:
        """Ask one process, which is kept for the next turn only if it is fit for it.

        `refused` is the session in whose place a new one is tried; `given_up` are the ids of the
        project's former ones.  Raises `Parked`, and whatever ends the turn or has it tried again.
        """
        turn = run.turn
        turn.check_not_stopped()
        process = self.processes.lease(run, known)
        fit, turns = True, None
        try:
            session = known or new_session(turn.project, process, given_up)
            turn.set_session(session.id)
            turn.check_not_stopped()
            missed = self._untold_history(turn, session, process)
            size = self._transcripts.size(session.cwd, session.id)
            fit = False
            session = self.processes.configured(run, process, session)
            reply = self._send(run, process, session, earlier or missed)
            result = wait_for_result(run, process, reply)
            if turn.stop_reason is None:
                _check_answered(run, reply, result, is_known=known is not None)
            self._pool.saw_skills(session.cwd, reply.answer.skills)
            error = self._error_of(turn, result)
            if error is None:
                session = with_transcript_checked(
                    session, self._transcripts, size, was_told=bool(missed)
                )
            elif refused is not None and isinstance(error, RequestRefused):
                # The question itself may be the cause: the session is not to be lost by it.
                error = session_unusable(turn, refused, error)
                session = with_tried(refused, session)
            fit = self._finish(run, process, reply, result, error=error, session=session)
            turns = session.turns + 1
        finally:
            self._return_process(process, turns, fit=fit)

    def go_on(self, run: TurnRun, approval: Approval) -> None:
        """Go on with a parked turn in another process, which asks again what was answered."""
        turn = run.turn
        session = self._store.session(turn.project)
        if session is None or session.id != turn.session_id:
            raise TurnInterrupted("the project's session was deleted")
        process = self.processes.lease_again(run, session, approval)
        fit, turns = False, None
        try:
            reply = process.continued
            if reply is None or run.approvals is None:
                raise WorkerLost("the Claude CLI did not go on with the turn")
            run.approvals.on_recall = partial(self.processes.configure_again, run, process)
            result = wait_for_result(run, process, reply)
            if isinstance(result.error, ProcessGone):
                turn.add_earlier_work(EarlierWork.of_result(result))
                raise WorkerLost("the Claude CLI did not go on with the turn")
            error = self._error_of(turn, result)
            fit = self._finish(run, process, reply, result, error=error, session=session)
            turns = session.turns + 1
        finally:
            self._return_process(process, turns, fit=fit)

    def follow(self, run: TurnRun, kept: Kept) -> None:
        """Answer what the CLI goes on with by itself.

        Raises `ProcessGone` where it does not after all.
        """
        turn, process = run.turn, kept.process
        run.is_asked = turn.was_asked = True
        if process is None:
            raise ProcessGone("the Claude CLI has ended")
        fit, turns, kept.process = False, None, None
        try:
            turn.check_not_stopped()
            session = self._store.session(turn.project)
            if session is None or session.id != process.session_id:
                raise TurnInterrupted("the project's session was deleted")
            turn.set_session(session.id)
            kept.reply.take_over(turn.append, run.meter)
            if run.meter is not None:
                run.meter.begin(process.requests)
            if run.approvals is not None:
                run.approvals.begin_process(process)
            result = wait_for_result(run, process, kept.reply)
            if isinstance(result.error, ProcessGone):
                turn.add_earlier_work(EarlierWork.of_result(result))
                raise result.error
            error = self._error_of(turn, result)
            fit = self._finish(run, process, kept.reply, result, error=error, session=session)
            turns = session.turns + 1
        finally:
            self._return_process(process, turns, fit=fit)

    def _untold_history(
        self, turn: Turn, session: Session, process: ClaudeProcess
    ) -> list[Exchange]:
        """What is to be told to a new process, since its session's transcript lacks some of it."""
        if not session.incomplete or process.turns:
            return []
        turn.set_session(session.id, recovered=True)
        continuation = turn.question.continuation
        if continuation is not None and not continuation.goes_on:
            return list(continuation.earlier)
        return self._store.history(turn.project)

    def _send(
        self, run: TurnRun, process: ClaudeProcess, session: Session, earlier: list[Exchange]
    ) -> PendingAnswer:
        """Send the question; from here on the session is the project's."""
        turn = run.turn
        turn.on_stop(None)
        question = turn.question
        turn.check_not_stopped()  # after its end the turn has no text any more
        said: str | list[Any] = command.prompt(
            question.text,
            question.skill,
            # With attachments, the CLI would take a command for one where it is none.
            slash_commands=self._policy.slash_commands and not question.blocks,
            earlier=[(each.question, each.answer) for each in earlier],
        )
        if question.blocks:
            said = [*question.blocks, {"type": "text", "text": said}]
        # Whatever becomes of it: from here on it stands in the session.
        self.processes.put_session(replace(session, last_turn=turn.id), run)
        is_retry, run.is_asked = run.is_asked, True
        turn.was_asked = True
        return process.ask(
            said,
            turn.append,
            # The CLI drops a name that it has seen.
            uuid=new_id() if is_retry else turn.id,
            observer=run.meter,
            takes_requests=run.approvals is not None,
        )

    def _finish(
        self,
        run: TurnRun,
        process: ClaudeProcess,
        reply: PendingAnswer,
        result: Result,
        *,
        error: CoworkError | None,
        session: Session,
    ) -> bool:
        """End the turn; whether its process may serve another one."""
        is_free = self.follow_ups.begin(run, process, reply, result)
        run.close_approvals()
        if self._sync is not None:
            # Before its end is told: who asks again at once, elsewhere, is understood.
            self._sync.save(replace(session, id=result.session_id or session.id), run.claim)
        kept = self._finisher.finish(run.turn, result, error, claim=run.claim, session=session)
        if reply.answer.used_tools:
            process.sweep()
        # A process that has seen no login would not notice a new one.
        is_sound = not isinstance(error, ClaudeNotAuthenticated | SessionUnusable)
        # One that is at the next turn already is ended behind that.
        is_alike = self.follow_ups.has(run.claim) or not process.has_left_its_mode
        return is_free and kept and is_sound and is_alike

    def _return_process(self, process: ClaudeProcess, turns: int | None, *, fit: bool) -> None:
        """Give the process back, or end it; one that cannot be given back is ended."""
        if self.follow_ups.keeps(process, fit=fit):
            return
        kept = False
        try:
            if fit:
                self._pool.give_back(process, turns)
                kept = True
        finally:
            if not kept:
                self._pool.discard(process)

    def _error_of(self, turn: Turn, result: Result) -> CoworkError | None:
        """Why the turn did not succeed, or None."""
        if turn.stop_reason is not None and (result.interrupted or result.error is not None):
            return turn.stop_reason
        if result.interrupted:
            return interrupted()
        if isinstance(result.error, ClaudeNotAuthenticated):
            self._cli.saw_login(works=False)
        elif result.error is None:
            self._cli.saw_login(works=True)
        return result.error


def _check_answered(run: TurnRun, reply: PendingAnswer, result: Result, *, is_known: bool) -> None:
    """Raise `ProcessGone` or `RequestRefused` where another process or session may do better.

    The latter where a known session's history may be the cause, and nothing has happened: where
    the model has begun to answer, it has taken the history.
    """
    nothing_happened = not (result.text or reply.answer.used_tools)
    is_refused = is_known and isinstance(result.error, RequestRefused) and nothing_happened
    if isinstance(result.error, ProcessGone) or (result.error is not None and is_refused):
        run.turn.add_earlier_work(EarlierWork.of_result(result))
        raise result.error
