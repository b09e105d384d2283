"""Ends turns: first in the store, then for whoever reads them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cowork.claude.stream_json.result import Result
from cowork.errors import CoworkError, Internal
from cowork.events import Done
from cowork.log import logger
from cowork.model import Claim, Session, Spending
from cowork.turns.event_log import is_serializable
from cowork.turns.outcome import TurnOutcome, failed, internal_error
from cowork.turns.recorder import TurnRecorder
from cowork.turns.reporter import TurnReporter
from cowork.turns.sessions import with_turn_counted
from cowork.turns.spending import spent_in
from cowork.turns.turn import Turn

log = logger(__name__)


class TurnFinisher:
    """Ends any number of turns, each once."""

    def __init__(self, recorder: TurnRecorder, reporter: TurnReporter | None = None) -> None:
        self._recorder = recorder
        self.reporter = reporter or TurnReporter()

    def finish(
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
        turn.steers.cancel_waiting()
        if not turn.try_begin_finish():
            return False
        spent: tuple[Spending, ...] = ()
        try:
            result = _of_whole_turn(turn, result)
            spent = spent_in(result)
            if result is not None and result.session_id is not None:
                turn.set_session(result.session_id)  # `/clear` has begun another one
            outcome = _outcome_of(turn, result, error)
            if session is not None:
                session = with_turn_counted(session, turn.id, outcome.done, result)
            return self._end(turn, outcome, claim, session, spent)
        except Exception:
            log.exception("unhandled exception while ending a turn", turn_id=turn.id)
            return False
        finally:
            if turn.done is None:
                self._end_failed(turn, spent)

    def finish_change(
        self,
        turn: Turn,
        change: Mapping[str, Any],
        *,
        claim: Claim | None = None,
        session: Session | None = None,
    ) -> bool:
        """End a turn that has changed its session, as `finish`, and tell what it made.

        False too where it has ended before: nothing is changed then.
        """
        if not turn.try_begin_finish():
            return False
        outcome = _outcome_of(turn, None, None)
        outcome = replace(outcome, done=replace(outcome.done, change=change))
        try:
            return self._end(turn, outcome, claim, session, ())
        finally:
            if turn.done is None:
                self._end_failed(turn, ())

    def _end(
        self,
        turn: Turn,
        outcome: TurnOutcome,
        claim: Claim | None,
        session: Session | None,
        spent: tuple[Spending, ...],
    ) -> bool:
        kept = self._recorder.record_ended(turn, outcome, claim=claim, session=session, spent=spent)
        turn.finish(outcome.done, outcome.error)
        self.reporter.ended(turn, spent)
        return kept

    def _end_failed(self, turn: Turn, spent: tuple[Spending, ...]) -> None:
        """End a turn of which nothing can be said but that it is over."""
        outcome = failed(internal_error(), turn.session_id)
        try:
            self._recorder.record_ended(turn, outcome, spent=spent)
        except Exception:
            log.exception("could not record the end of a turn", turn_id=turn.id)
        finally:
            turn.finish(outcome.done, outcome.error)
            self.reporter.ended(turn, spent)


def _of_whole_turn(turn: Turn, result: Result | None) -> Result | None:
    """The result, with what the turn has had done by processes that were gone before."""
    if not turn.earlier_work:
        return result
    return turn.earlier_work.before(Result(turn.text) if result is None else result)


def _outcome_of(turn: Turn, result: Result | None, error: CoworkError | None) -> TurnOutcome:
    """The turn's outcome; a failure too where the answer is a value that no reply can hold."""
    said = result if result is not None else Result("")
    begun = turn.started_monotonic if turn.started_monotonic is not None else time.monotonic()
    done = Done(
        success=error is None,
        message=said.text,
        session_id=turn.session_id,
        is_new_session=turn.is_new_session,
        session_recovered=turn.session_recovered,
        session_moved=turn.session_moved,
        replaced=said.replaced,
        usage=said.usage,
        cost_usd=said.cost_usd,
        duration_ms=round((time.monotonic() - begun) * 1000),
        structured_output=said.structured_output,
        model=said.model,
        stop_reason=said.stop_reason,
        usage_by_model=said.usage_by_model,
        permission_denials=list(said.permission_denials) or None,
        files_changed=list(said.files_changed) or None,
        session_state=turn.session_state,
    )
    if is_serializable(done):
        return TurnOutcome(done, error)
    log.error("answer is nested too deeply for JSON", turn_id=turn.id)
    done = replace(
        done,
        success=False,
        usage=None,
        structured_output=None,
        usage_by_model=None,
        permission_denials=None,
    )
    return TurnOutcome(done, error or Internal("the answer is nested too deeply for JSON"))
