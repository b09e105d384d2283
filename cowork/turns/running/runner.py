"""Runs one turn: claim the project, resolve the session, ask, and go on with what was parked.

Retries after a lost session or a dead process.  `queues.py` calls this, in the queue's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from cowork.claude.process.process import ClaudeProcess
from cowork.claude.stream_json.failures import (
    ProcessGone,
    RequestRefused,
    SessionInUse,
    SessionMissing,
)
from cowork.claude.transcript import Transcripts
from cowork.errors import ClaudeFailed, CoworkError, StoreUnavailable, WorkerLost
from cowork.log import logger
from cowork.model import Approval, Claim, Session
from cowork.stores.protocol import Store
from cowork.turns.approvals.approvals import Approvals
from cowork.turns.approvals.turn_approvals import Parked, TurnApprovals
from cowork.turns.earlier_work import EarlierWork
from cowork.turns.finisher import TurnFinisher
from cowork.turns.outcome import internal_error, without_traceback
from cowork.turns.policy import TurnPolicy
from cowork.turns.recorder import TurnRecorder
from cowork.turns.running.attempt import Attempts
from cowork.turns.running.begin_continued import begin_continued
from cowork.turns.running.claims import release_claim, wait_for_claim
from cowork.turns.running.deadline import Deadline
from cowork.turns.running.follow_ups import Kept
from cowork.turns.running.forks import Forks
from cowork.turns.running.result_wait import TurnRun
from cowork.turns.running.steer_delivery import Steering
from cowork.turns.running.turn_limits import TurnMeter, is_metered
from cowork.turns.sessions import with_given_up
from cowork.turns.transcript_sync import TranscriptSync
from cowork.turns.turn import Turn

log = logger(__name__)

# A session that is missing or refused, then one that is in use, then a process that died while it
# was idle.
ATTEMPTS = 3


class Runner:
    """Runs turns, one call each, from any number of queues.

    `on_given_up` is called with a turn that waits for a person when this process lets go of it.
    """

    def __init__(
        self,
        store: Store,
        attempts: Attempts,
        recorder: TurnRecorder,
        finisher: TurnFinisher,
        policy: TurnPolicy,
        *,
        approvals: Approvals,
        forks: Forks,
        transcripts: Transcripts,
        sync: TranscriptSync | None = None,
    ) -> None:
        self._store = store
        self._attempts = attempts
        self._recorder = recorder
        self._finisher = finisher
        self._reporter = finisher.reporter
        self._policy = policy
        self._approvals = approvals
        self._forks = forks
        self._transcripts = transcripts
        self._sync = sync
        self.follow_ups = attempts.follow_ups
        self._is_closing = False
        self.on_given_up: Callable[[Turn], None] = lambda _turn: None

    def park_all(self) -> None:
        """Let go of the turns that wait for a person and outlive this process, from now on."""
        self._is_closing = True
        self._approvals.park_all()

    def finish_cancelled(self, turn: Turn) -> None:
        """End a stopped turn at once: it waits, or has no reply yet that could be interrupted."""
        self._finisher.finish(turn, None, turn.stop_reason)

    def _finish_unanswered(
        self, turn: Turn, claim: Claim | None, error: CoworkError | None
    ) -> None:
        """End a turn whose last process has no result; what others have spent is its session's."""
        session: Session | None = None
        if turn.earlier_work and claim is not None:
            with suppress(StoreUnavailable):
                session = self._store.session(turn.project)
        is_its = session is not None and session.id == turn.session_id
        claim, session = (claim, session) if is_its else (None, None)
        self._finisher.finish(turn, None, error, claim=claim, session=session)

    def run(self, turn: Turn) -> None:
        """Run a turn to its end, whatever happens, or until it is parked for good."""
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
        if not turn.is_adopted and not self._recorder.record_started(turn):
            lost = WorkerLost("the server's process was thought to be lost while the turn waited")
            self._finisher.finish(turn, None, lost)
            return
        self._reporter.started(turn)
        turn.on_stop(lambda: self.finish_cancelled(turn))
        kept = self.follow_ups.take(turn)
        claim = None if kept is None else kept.claim
        run: TurnRun | None = None
        try:
            deadline = self._deadline(turn)
            claim = claim or wait_for_claim(self._store, turn, deadline, self._reporter.claimed)
            run = self._begin(turn, claim)
            if turn.question.change is not None:
                self._forks.run(run, turn.question.change)
            elif kept is not None:
                self._run_following(run, kept)
            elif turn.is_adopted:
                self._run_parked(run)
            else:
                self._run_asked(run)
        except CoworkError as error:
            if run is not None:
                run.close_approvals()
            self._finish_unanswered(turn, claim, turn.stop_reason or error)
        finally:
            if run is not None and run.approvals is not None:
                if not turn.is_given_up:
                    run.approvals.close()
                self._approvals.end(turn)
            # Not before the process is put away: two writers to one session lose turns.
            if claim is not None and not self.follow_ups.has(claim):
                release_claim(self._store, claim)

    def _begin(self, turn: Turn, claim: Claim) -> TurnRun:
        asks = turn.question.options.approvals
        begin = partial(self._approvals.begin, turn, self._saving(turn, claim), self._is_written)
        return TurnRun(
            turn,
            claim,
            self._deadline(turn),
            Steering(turn, self._recorder, slash_commands=self._policy.slash_commands),
            approvals=begin() if asks else None,
            meter=TurnMeter(turn) if is_metered(turn.question) else None,
        )

    def _is_written(self, process: ClaudeProcess, tool_use_id: str) -> bool:
        return self._transcripts.has_call(process.cwd, process.session_id, tool_use_id)

    def _saving(self, turn: Turn, claim: Claim) -> Callable[[Sequence[str], EarlierWork], None]:
        """What keeps a turn that waits, and what another machine needs to go on with it."""

        def save(parks_for: Sequence[str], work: EarlierWork) -> None:
            self._recorder.record_waiting(turn, parks_for, work=work)
            session = self._store.session(turn.project) if parks_for and self._sync else None
            if self._sync is not None and session is not None:
                self._sync.save(session, claim)

        return save

    # -- a turn that is asked

    def _run_following(self, run: TurnRun, kept: Kept) -> None:
        """Go on with what the CLI is at already; where it is not any more, ask."""
        try:
            self._attempts.follow(run, kept)
        except Parked:
            self._run_parked(run)
        except ProcessGone as fault:
            run.turn.on_stop(lambda: self.finish_cancelled(run.turn))
            log.info("process died, starting another", turn_id=run.turn.id, why=str(fault))
            self._run_asked(run)

    def _run_asked(self, run: TurnRun) -> None:
        try:
            self._run_attempts(run)
        except Parked:
            self._run_parked(run)

    def _run_attempts(self, run: TurnRun) -> None:
        """Ask, starting a new session where the old one is lost; a `CoworkError` ends the turn."""
        turn = run.turn
        found = self._placed(turn, self._store.session(turn.project))
        begun = begin_continued(run, found, self._forks)
        session, earlier, given_up = begun.session, list(begun.earlier), begun.given_up
        refused: Session | None = None
        is_known = session is not None
        for _ in range(ATTEMPTS):
            turn.set_session(
                session.id if session is not None else None,
                is_new=session is None,
                recovered=is_known and session is None,
            )
            try:
                self._attempts.ask(run, session, earlier, refused=refused, given_up=given_up)
            except (SessionMissing, SessionInUse, RequestRefused) as fault:
                turn.on_stop(lambda: self.finish_cancelled(turn))
                log.warning("session lost, starting a new one", turn_id=turn.id, why=fault.message)
                self._reporter.lost_session(fault)
                if not isinstance(fault, SessionInUse):
                    earlier = list(begun.told) or self._store.history(turn.project)
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

    # -- a turn that waits for a person without a process

    def _run_parked(self, run: TurnRun) -> None:
        """Wait for the answer and go on, as often as it is parked again."""
        turn, approvals = run.turn, run.approvals
        assert approvals is not None  # noqa: S101 - it waits for one
        if turn.is_adopted:
            approvals.recall(self._recalled(turn))
        while True:
            approval = self._await_decision(run, approvals)
            if approval is None:
                return
            try:
                self._attempts.go_on(run, approval)
            except Parked:
                continue
            except (SessionMissing, SessionInUse, ProcessGone) as fault:
                raise WorkerLost("the Claude CLI did not go on with the turn") from fault
            return

    def _recalled(self, turn: Turn) -> Approval:
        """What an adopted turn waits for, which its former process has not been told yet."""
        found = [self._store.approval(each) for each in turn.waiting.ids]
        kept = [each for each in found if each and each.applied is None and not each.subagent_id]
        if not kept:
            raise WorkerLost("the server's process was lost while it answered")
        return kept[0]

    def _await_decision(self, run: TurnRun, approvals: TurnApprovals) -> Approval | None:
        """The answer; None where the turn has ended, or is left to another process."""
        turn = run.turn

        def stop() -> None:
            self._finish_unanswered(turn, run.claim, turn.stop_reason)
            approvals.wake()

        turn.on_stop(stop)
        found = approvals.await_decision(lambda: turn.done is not None or self._is_closing)
        if found is None and turn.done is None:
            self._give_up(turn)
        return found

    def _give_up(self, turn: Turn) -> None:
        """Leave the turn to whoever adopts it; where the store is unavailable it ends."""
        turn.steers.close()  # what is said from now on would not be in the log that is kept
        try:
            self._recorder.record_waiting(turn, turn.waiting.ids, is_given_up=True)
        except StoreUnavailable as fault:
            raise WorkerLost("the server was stopped while its store was unavailable") from fault
        log.info("turn parked", turn_id=turn.id)
        turn.give_up()
        self.on_given_up(turn)

    def _deadline(self, turn: Turn) -> Deadline:
        return Deadline(turn, self._policy.timeout)
