"""Runs one turn: claim the project, resolve the session, lease a process, wait for the result.

Retries after a lost session or a dead process.  `queues.py` calls this, in the queue's thread.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

from cowork.claude import command
from cowork.claude.installation import ClaudeCli
from cowork.claude.pool.pool import Pool
from cowork.claude.process.pending_answer import PendingAnswer
from cowork.claude.process.process import INTERRUPT_STEP_S, ClaudeProcess
from cowork.claude.stream_json.failures import (
    ProcessGone,
    RequestRefused,
    SessionInUse,
    SessionMissing,
)
from cowork.claude.stream_json.result import Result
from cowork.claude.transcript import Transcripts
from cowork.errors import (
    ClaudeFailed,
    ClaudeNotAuthenticated,
    CoworkError,
    SessionUnusable,
    TurnInterrupted,
)
from cowork.log import logger
from cowork.model import Claim, Exchange, Session
from cowork.stores.protocol import Store
from cowork.turns.claims import release_claim, wait_for_claim
from cowork.turns.deadline import Deadline
from cowork.turns.finisher import TurnFinisher
from cowork.turns.outcome import internal_error, interrupted, without_traceback
from cowork.turns.policy import TurnPolicy
from cowork.turns.recorder import TurnRecorder
from cowork.turns.sessions import (
    new_session,
    session_unusable,
    with_given_up,
    with_transcript_checked,
    with_tried,
)
from cowork.turns.transcript_sync import TranscriptSync
from cowork.turns.turn import Turn

log = logger(__name__)

# A session that is missing or refused, then one that is in use, then a process that died while it
# was idle.
ATTEMPTS = 3


class Runner:
    """Runs turns, one call each, from any number of queues."""

    def __init__(
        self,
        store: Store,
        pool: Pool,
        cli: ClaudeCli,
        recorder: TurnRecorder,
        policy: TurnPolicy,
        *,
        transcripts: Transcripts,
        sync: TranscriptSync | None = None,
    ) -> None:
        self._store = store
        self._pool = pool
        self._cli = cli
        self._recorder = recorder
        self._finisher = TurnFinisher(recorder)
        self._policy = policy
        self._transcripts = transcripts
        self._sync = sync

    def finish_cancelled(self, turn: Turn) -> None:
        """End a stopped turn at once: it waits, or has no reply yet that could be interrupted."""
        self._finisher.finish(turn, None, turn.stop_reason)

    def run(self, turn: Turn) -> None:
        """Run a turn to its end, whatever happens."""
        try:
            self._run_claimed(turn)
        except BaseException:  # also what gevent throws into a greenlet to end it
            # The last line of defence: a turn must end, and its queue must go on.
            log.exception("unhandled exception in turn", turn_id=turn.id)
            self._finisher.finish(turn, None, internal_error())
        finally:
            # It may have been raised here after its end; its frames would keep the process as long
            # as the turn is kept.
            for error in (turn.stop_reason, turn.error):
                without_traceback(error)

    def _run_claimed(self, turn: Turn) -> None:
        self._recorder.record_started(turn)
        turn.on_stop(lambda: self.finish_cancelled(turn))
        claim: Claim | None = None
        try:
            claim = wait_for_claim(self._store, turn, self._deadline(turn))
            self._run_attempts(turn, claim)
        except CoworkError as error:
            self._finisher.finish(turn, None, turn.stop_reason or error)
        finally:
            # Not before the process is put away: two writers to one session lose turns.
            if claim is not None:
                release_claim(self._store, claim)

    # -- a turn

    def _run_attempts(self, turn: Turn, claim: Claim) -> None:
        """Ask, starting a new session where the old one is lost; a `CoworkError` ends the turn."""
        session = found = self._placed(turn, self._store.session(turn.project))
        earlier: list[Exchange] = []
        refused: Session | None = None
        given_up = found.earlier if found is not None else ()
        for _ in range(ATTEMPTS):
            turn.set_session(
                session.id if session is not None else None,
                is_new=session is None,
                recovered=found is not None and session is None,
            )
            try:
                self._attempt(turn, session, claim, earlier, refused=refused, given_up=given_up)
            except (SessionMissing, SessionInUse, RequestRefused) as fault:
                turn.on_stop(lambda: self.finish_cancelled(turn))
                log.warning("session lost, starting a new one", turn_id=turn.id, why=fault.message)
                if not isinstance(fault, SessionInUse):
                    earlier = self._store.history(turn.project)
                if isinstance(fault, RequestRefused):
                    refused = session
                session, given_up = None, with_given_up(given_up, turn)
            except ProcessGone as fault:
                turn.on_stop(lambda: self.finish_cancelled(turn))
                given_up = with_given_up(given_up, turn)
                log.info("process died, starting another", turn_id=turn.id, why=str(fault))
            else:
                return
        raise ClaudeFailed("the Claude CLI did not take the question")

    def _attempt(
        self,
        turn: Turn,
        known: Session | None,
        claim: Claim,
        earlier: list[Exchange],
        *,
        refused: Session | None,
        given_up: tuple[str, ...],
    ) -> None:
        """One try with one process, which is kept for the next turn only if it is fit for it.

        `refused` is the session in whose place a new one is tried; `given_up` are the ids of the
        project's former ones.
        """
        turn.check_not_stopped()
        process = self._lease(turn, known)
        fit, turns = True, None
        try:
            session = known or new_session(turn.project, process, given_up)
            turn.set_session(session.id)
            turn.check_not_stopped()
            missed = self._untold_history(turn, session, process)
            size = self._transcripts.size(session.cwd, session.id)
            fit = False
            reply = self._send(turn, process, session, claim, earlier or missed)
            result = self._wait_for_result(turn, reply)
            if turn.stop_reason is None:
                _check_answered(reply, result, is_known=known is not None)
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
            if self._sync is not None:
                # Before its end is told: who asks again at once, elsewhere, is understood.
                self._sync.save(replace(session, id=result.session_id or session.id), claim)
            kept = self._finisher.finish(turn, result, error, claim=claim, session=session)
            turns = session.turns + 1
            # A process that has seen no login would not notice a new one.
            fit = kept and not isinstance(error, ClaudeNotAuthenticated | SessionUnusable)
            if reply.answer.used_tools:
                process.sweep()
        finally:
            self._return_process(process, turns, fit=fit)

    def _lease(self, turn: Turn, known: Session | None) -> ClaudeProcess:
        """A process of the session, or of a new one where the project has none."""
        return self._pool.lease(
            turn.project,
            known.cwd if known is not None else self._policy.workspace.cwd(turn.project),
            session_id=known.id if known is not None else None,
            turns=known.turns if known is not None else None,
            options=turn.question.options,
            before_start=partial(self._check_directory, known),
            given_up=self._deadline(turn).check,
        )

    def _check_directory(self, known: Session | None) -> None:
        """Raise where there is none to start a process in; one that has a process is there."""
        if known is None:
            self._policy.workspace.check()
        elif not self._policy.workspace.still_has(known.cwd):
            raise SessionMissing("the session's directory is gone")
        elif self._sync is not None:
            self._sync.restore(known)

    def _placed(self, turn: Turn, found: Session | None) -> Session | None:
        """The project's session, in a new directory where its own is on another machine.

        That it is there is told by its transcript, which is not here.
        """
        workspace = self._policy.workspace
        if self._sync is None or found is None or workspace.still_has(found.cwd):
            return found
        if self._transcripts.size(found.cwd, found.id) is not None:
            return found
        turn.mark_session_moved()
        return replace(found, cwd=workspace.make(turn.project))

    def _untold_history(
        self, turn: Turn, session: Session, process: ClaudeProcess
    ) -> list[Exchange]:
        """What is to be told to a new process, since its session's transcript lacks some of it."""
        if not session.incomplete or process.turns:
            return []
        turn.set_session(session.id, recovered=True)
        return self._store.history(turn.project)

    def _return_process(self, process: ClaudeProcess, turns: int | None, *, fit: bool) -> None:
        """Give the process back, or end it; one that cannot be given back is ended."""
        kept = False
        try:
            if fit:
                self._pool.give_back(process, turns)
                kept = True
        finally:
            if not kept:
                self._pool.discard(process)

    def _send(
        self,
        turn: Turn,
        process: ClaudeProcess,
        session: Session,
        claim: Claim,
        earlier: list[Exchange],
    ) -> PendingAnswer:
        """Send the question; from here on the session is the project's."""
        turn.on_stop(None)
        question = turn.question
        turn.check_not_stopped()  # after its end the turn has no text any more
        said = command.prompt(
            question.text,
            question.skill,
            slash_commands=self._policy.slash_commands,
            earlier=[(each.question, each.answer) for each in earlier],
        )
        if not self._store.put_session(session, claim):
            raise TurnInterrupted("the project's session was deleted")
        return process.ask(said, turn.append)

    def _wait_for_result(self, turn: Turn, reply: PendingAnswer) -> Result:
        """The result, or what there is of it when the turn is stopped or its time runs out."""
        turn.on_stop(reply.interrupt)
        deadline = self._deadline(turn)
        give_up: float | None = None
        while True:
            if turn.stop_reason is not None and give_up is None:
                give_up = time.monotonic() + INTERRUPT_STEP_S
            result = reply.wait(deadline.at(reply) if give_up is None else give_up)
            if result is not None:
                return result
            if give_up is not None and time.monotonic() >= give_up:
                return Result(text=reply.answer.text, interrupted=True)
            deadline.check(reply)  # it may have moved while we waited: the CLI spoke

    def _deadline(self, turn: Turn) -> Deadline:
        return Deadline(turn, self._policy.timeout)

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


def _check_answered(reply: PendingAnswer, result: Result, *, is_known: bool) -> None:
    """Raise `ProcessGone` or `RequestRefused` where another process or session may do better.

    The latter where a known session's history may be the cause, and nothing has happened: where
    the model has begun to answer, it has taken the history.
    """
    if isinstance(result.error, ProcessGone):
        raise result.error
    nothing_happened = not (result.text or reply.answer.used_tools)
    if is_known and isinstance(result.error, RequestRefused) and nothing_happened:
        raise result.error
