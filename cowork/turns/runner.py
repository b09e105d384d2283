"""Runs one turn: claim the project, resolve the session, lease a process, wait for the result.

Retries after a lost session or a dead process.  `queues.py` calls this, in the queue's thread.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from cowork.claude import command
from cowork.claude.installation import ClaudeCli
from cowork.claude.pool.pool import Pool
from cowork.claude.process.process import INTERRUPT_RUNG, ClaudeProcess, ProcessGone
from cowork.claude.process.reply import Reply
from cowork.claude.stream_json.answer import Result
from cowork.claude.stream_json.failures import RequestRefused, SessionInUse, SessionMissing
from cowork.claude.transcript import Transcripts
from cowork.claude.workspace import Workspace
from cowork.errors import (
    ClaudeFailed,
    ClaudeNotAuthenticated,
    ClaudeTimeout,
    CoworkError,
    Internal,
    SessionUnusable,
    StoreUnavailable,
    TurnInterrupted,
)
from cowork.events import Done
from cowork.log import logger
from cowork.model import Claim, Exchange, Project, Session, with_earlier
from cowork.stores.protocol import Store
from cowork.turns.event_log import is_serializable
from cowork.turns.recorder import TurnRecorder
from cowork.turns.turn import Turn, internal_error, without_traceback

log = logger(__name__)

# A session that is missing or refused, then one that is in use, then a process that died while it
# was idle.
ATTEMPTS = 3
# How often a project's claim is tried for while another process holds it.
CLAIM_POLL_INTERVAL_S = 0.075


@dataclass(frozen=True, slots=True)
class TurnPolicy:
    """What the operator decided about turns; durations are seconds."""

    workspace: Workspace
    permission_mode: str = "default"
    slash_commands: bool = False
    timeout: float = 300.0
    queue_limit: int = 8
    disconnect_grace: float = 30.0


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
    ) -> None:
        self._store = store
        self._pool = pool
        self._cli = cli
        self._recorder = recorder
        self._policy = policy
        self._transcripts = transcripts

    def finish_cancelled(self, turn: Turn) -> None:
        """End a turn that was stopped while it waited in its queue."""
        self._finish(turn, None, turn.stop_reason)

    def run(self, turn: Turn) -> None:
        """Run a turn to its end, whatever happens."""
        try:
            self._run_claimed(turn)
        except BaseException:  # also what gevent throws into a greenlet to end it
            # The last line of defence: a turn must end, and its queue must go on.
            log.exception("unhandled exception in turn", turn_id=turn.id)
            self._finish(turn, None, internal_error())
        finally:
            # It may have been raised here after its end; its frames would keep the process as long
            # as the turn is kept.
            for error in (turn.stop_reason, turn.error):
                without_traceback(error)

    def _run_claimed(self, turn: Turn) -> None:
        self._recorder.record_started(turn)
        claim: Claim | None = None
        try:
            claim = self._claim(turn)
            self._run_attempts(turn, claim)
        except CoworkError as error:
            self._finish(turn, None, turn.stop_reason or error)
        finally:
            # Not before the process is put away: two writers to one session lose turns.
            if claim is not None:
                self._release(claim)

    def _claim(self, turn: Turn) -> Claim:
        """The claim on the project, once no other process holds it."""
        turn.on_stop(lambda: self._stop_early(turn))
        while True:
            self._check_not_stopped(turn)
            claim = self._store.claim(turn.project)
            if claim is not None:
                return claim
            self._deadline_passed(turn)
            turn.wait(time.monotonic() + CLAIM_POLL_INTERVAL_S)

    def _stop_early(self, turn: Turn) -> None:
        """End a stopped turn at once: there is no reply yet that could be interrupted."""
        self._finish(turn, None, turn.stop_reason)

    def _release(self, claim: Claim) -> None:
        try:
            self._store.release(claim)
        except StoreUnavailable as fault:
            # Nobody renews it any more, so that it expires, or ends with our next one.
            log.warning("could not release a project's claim", why=fault.message)

    # -- a turn

    def _run_attempts(self, turn: Turn, claim: Claim) -> None:
        """Ask, starting a new session where the old one is lost; a `CoworkError` ends the turn."""
        session = found = self._store.session(turn.project)
        earlier: list[Exchange] = []
        refused: Session | None = None
        given_up = found.earlier if found is not None else ()
        for _ in range(ATTEMPTS):
            turn.session_id = session.id if session is not None else None
            turn.is_new_session = session is None
            turn.session_recovered = found is not None and session is None
            try:
                self._attempt(turn, session, claim, earlier, refused=refused, given_up=given_up)
            except (SessionMissing, SessionInUse, RequestRefused) as fault:
                log.warning("session lost, starting a new one", turn_id=turn.id, why=fault.message)
                if not isinstance(fault, SessionInUse):
                    earlier = self._store.history(turn.project)
                if isinstance(fault, RequestRefused):
                    refused = session
                session, given_up = None, _with_given_up(given_up, turn)
            except ProcessGone as fault:
                given_up = _with_given_up(given_up, turn)
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
        turn.on_stop(lambda: self._stop_early(turn))
        self._check_not_stopped(turn)
        if known is None:
            self._policy.workspace.check()
        elif not self._policy.workspace.still_has(known.cwd):
            raise SessionMissing("the session's directory is gone")
        process = self._pool.lease(
            turn.project,
            known.cwd if known is not None else self._policy.workspace.cwd(turn.project),
            session_id=known.id if known is not None else None,
            turns=known.turns if known is not None else None,
            needs=turn.question.needs,
            given_up=lambda: self._deadline_passed(turn),
        )
        fit, turns = True, None
        try:
            session = known or _new_session(turn.project, process, given_up)
            turn.session_id = session.id
            self._check_not_stopped(turn)
            missed = self._untold_history(turn, session, process)
            size = self._transcripts.size(session.cwd, session.id)
            fit = False
            turn.on_stop(None)
            reply = self._send(turn, process, session, claim, earlier or missed)
            result = self._wait_for_result(turn, reply)
            if isinstance(result.error, ProcessGone) and turn.stop_reason is None:
                raise result.error
            if known is not None and turn.stop_reason is None:
                _check_not_refused(reply, result)
            self._pool.saw_skills(session.cwd, reply.answer.skills)
            error = self._error_of(turn, result)
            if error is None:
                session = self._with_transcript_checked(session, size, was_told=bool(missed))
            if refused is not None and isinstance(error, RequestRefused):
                # The question itself may be the cause: the session is not to be lost by it.
                error, session = _unusable(turn, refused, error), _with_tried(refused, session)
            kept = self._finish(turn, result, error, claim=claim, session=session)
            turns = session.turns + 1
            # A process that has seen no login would not notice a new one.
            fit = kept and not isinstance(error, ClaudeNotAuthenticated | SessionUnusable)
            if reply.answer.used_tools:
                process.sweep()
        finally:
            self._return_process(process, turns, fit=fit)

    def _untold_history(
        self, turn: Turn, session: Session, process: ClaudeProcess
    ) -> list[Exchange]:
        """What is to be told to a new process, since its session's transcript lacks some of it."""
        if not session.incomplete or process.turns:
            return []
        turn.session_recovered = True
        return self._store.history(turn.project)

    def _with_transcript_checked(
        self, session: Session, size: int | None, *, was_told: bool
    ) -> Session:
        """The session, with whether its transcript has all that was said; it had `size` bytes."""
        lacks = self._transcripts.lacks_turn(session.cwd, session.id, size)
        if lacks:
            log.error(
                "CLI did not write the turn to its transcript, is the disk full?",
                session_id=session.id,
            )
        incomplete = lacks or (session.incomplete and not was_told)
        return (
            session if incomplete == session.incomplete else replace(session, incomplete=incomplete)
        )

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

    @staticmethod
    def _check_not_stopped(turn: Turn) -> None:
        if turn.stop_reason is not None:
            raise turn.stop_reason

    def _send(
        self,
        turn: Turn,
        process: ClaudeProcess,
        session: Session,
        claim: Claim,
        earlier: list[Exchange],
    ) -> Reply:
        """Send the question; from here on the session is the project's."""
        question = turn.question
        self._check_not_stopped(turn)  # after its end the turn has no text any more
        said = command.prompt(
            question.text,
            question.skill,
            slash_commands=self._policy.slash_commands,
            earlier=[(each.question, each.answer) for each in earlier],
        )
        if not self._store.put_session(session, claim):
            raise TurnInterrupted("the project's session was deleted")
        return process.ask(said, turn.append)

    def _wait_for_result(self, turn: Turn, reply: Reply) -> Result:
        """The result, or what there is of it when the turn is stopped or its time runs out."""
        turn.on_stop(reply.interrupt)
        give_up: float | None = None
        while True:
            if turn.stop_reason is not None and give_up is None:
                give_up = time.monotonic() + INTERRUPT_RUNG
            result = reply.wait(self._limit(turn, reply)[0] if give_up is None else give_up)
            if result is not None:
                return result
            now = time.monotonic()
            if give_up is not None and now >= give_up:
                return Result(text=reply.answer.text, interrupted=True)
            # The limit may have moved while we waited: the CLI spoke.
            limit, reason = self._limit(turn, reply)
            if turn.stop_reason is None and now >= limit:
                turn.stop(reason)

    def _allowed(self, turn: Turn) -> float:
        """Seconds; the request may only shorten what the operator allows."""
        return min(self._policy.timeout, turn.question.timeout or self._policy.timeout)

    def _deadline_passed(self, turn: Turn) -> bool:
        """Whether to go on waiting for a process is pointless; says so to the turn's readers."""
        allowed = self._allowed(turn)
        if time.monotonic() >= (turn.started_monotonic or 0.0) + allowed:
            turn.stop(_timeout_error(allowed))
        return turn.stop_reason is not None

    def _limit(self, turn: Turn, reply: Reply) -> tuple[float, CoworkError]:
        """When the turn has to end (monotonic), as things stand now, and why it then would.

        The whole time of a turn is bounded, or in a stream the CLI's silence.
        """
        allowed = self._allowed(turn)
        since = (
            reply.process.last_heard if turn.question.streaming else turn.started_monotonic or 0.0
        )
        return since + allowed, _timeout_error(allowed)

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

    def _finish(
        self,
        turn: Turn,
        result: Result | None,
        error: CoworkError | None,
        *,
        claim: Claim | None = None,
        session: Session | None = None,
    ) -> bool:
        """End the turn, when the store has its end; False where its session was deleted meanwhile.

        Counted before the turn ends, so that whoever saw its end sees it counted.
        Whoever begins a turn's end has to end it, since nobody else will: it has ended when this
        returns, and when this raises.
        """
        if not turn.try_begin_finish():
            return False
        try:
            return self._end(turn, result, error, claim, session)
        except Exception:
            log.exception("unhandled exception while ending a turn", turn_id=turn.id)
            return False
        finally:
            if turn.done is None:
                self._end_broken(turn)

    def _end(
        self,
        turn: Turn,
        result: Result | None,
        error: CoworkError | None,
        claim: Claim | None,
        session: Session | None,
    ) -> bool:
        if result is not None and result.session_id is not None:
            turn.session_id = result.session_id  # `/clear` has begun another one
        done, error = _serializable(turn, _done(turn, result, error), error)
        counted = None if session is None else _with_turn_counted(session, done, result)
        kept = self._recorder.record_ended(turn, done, error, claim=claim, session=counted)
        turn.finish(done, error)
        log.info(
            "turn ended",
            turn_id=turn.id,
            request_id=turn.request_id,
            state=turn.state.value,
            code=error.code if error is not None else None,
            ms=done.duration_ms,
        )
        return kept

    def _end_broken(self, turn: Turn) -> None:
        """End a turn of which nothing can be said but that it is over."""
        done, error = Done(success=False, message="", session_id=turn.session_id), internal_error()
        try:
            self._recorder.record_ended(turn, done, error)
        except Exception:
            log.exception("could not record the end of a turn", turn_id=turn.id)
        finally:
            turn.finish(done, error)


def _done(turn: Turn, result: Result | None, error: CoworkError | None) -> Done:
    begun = turn.started_monotonic if turn.started_monotonic is not None else time.monotonic()
    return Done(
        success=error is None,
        message=result.text if result is not None else "",
        session_id=turn.session_id,
        is_new_session=turn.is_new_session,
        session_recovered=turn.session_recovered,
        replaced=result.replaced if result is not None else False,
        usage=result.usage if result is not None else None,
        cost_usd=result.cost_usd if result is not None else None,
        duration_ms=round((time.monotonic() - begun) * 1000),
        structured_output=result.structured_output if result is not None else None,
    )


def _serializable(
    turn: Turn, done: Done, error: CoworkError | None
) -> tuple[Done, CoworkError | None]:
    """The end; that of a failure, where the answer is a value that no reply can hold."""
    if is_serializable(done):
        return done, error
    log.error("answer is nested too deeply for JSON", turn_id=turn.id)
    told = replace(done, success=False, usage=None, structured_output=None)
    return told, error or Internal("the answer is nested too deeply for JSON")


def _check_not_refused(reply: Reply, result: Result) -> None:
    """Raise `RequestRefused` where a session's history may be the cause, and nothing has happened.

    Where the model has begun to answer, it has taken the history.
    """
    if isinstance(result.error, RequestRefused) and not (result.text or reply.answer.used_tools):
        raise result.error


def _unusable(turn: Turn, session: Session, error: RequestRefused) -> SessionUnusable:
    """The error of a turn that a new session could not help; the project keeps the old one."""
    turn.session_id, turn.is_new_session, turn.session_recovered = session.id, False, False
    return SessionUnusable(
        f"{error.message}; a new session was tried too. If every question fails like this one, "
        "DELETE /sessions/{project} lets the project begin anew",
        **error.facts,
    )


def _new_session(project: Project, process: ClaudeProcess, earlier: tuple[str, ...]) -> Session:
    """The session that begins with this process's first question."""
    now = datetime.now(UTC)
    return Session(
        project,
        process.session_id,
        process.cwd,
        created=now,
        last_used=now,
        earlier=tuple(each for each in earlier if each != process.session_id),
    )


def _with_given_up(given_up: tuple[str, ...], turn: Turn) -> tuple[str, ...]:
    """With the session that the turn has just tried."""
    return given_up if turn.session_id is None else with_earlier(*given_up, turn.session_id)


def _with_tried(session: Session, tried: Session) -> Session:
    """The session that stays, with the id of one that was tried in its place."""
    return replace(session, earlier=with_earlier(*session.earlier, tried.id))


def _with_turn_counted(session: Session, done: Done, result: Result | None) -> Session:
    """The session with one more turn, under the id that the CLI will resume."""
    spent = result.spent if result is not None else None
    if done.session_id and done.session_id != session.id:
        earlier = with_earlier(*session.earlier, session.id)
        session = replace(session, id=done.session_id, earlier=earlier)
    return replace(
        session,
        last_used=datetime.now(UTC),
        turns=session.turns + 1,
        cost_usd=session.cost_usd + (done.cost_usd or 0.0),
        usage=session.usage.plus(spent),
    )


def interrupted() -> TurnInterrupted:
    """The error of a turn that somebody interrupted."""
    return TurnInterrupted("the turn was interrupted")


def _timeout_error(allowed: float) -> ClaudeTimeout:
    return ClaudeTimeout(f"no answer within {allowed:g} seconds")
