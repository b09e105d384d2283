"""How a turn ends: its last event, and why it did not succeed."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from cowork.claude.stream_json.answer import Result
from cowork.errors import CoworkError, Internal
from cowork.events import Done
from cowork.log import logger
from cowork.turns.event_log import is_serializable
from cowork.turns.turn import State, Turn, state_of, without_answer

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """`done` says what there is of an answer; `error` is None where the turn succeeded."""

    done: Done
    error: CoworkError | None = None

    @property
    def state(self) -> State:
        return state_of(self.error)

    def without_answer(self) -> TurnOutcome:
        """The same end, without what was said."""
        return replace(self, done=without_answer(self.done))


def failed(error: CoworkError, session_id: str | None = None) -> TurnOutcome:
    """The outcome of a turn of which nothing can be said but why it is over."""
    return TurnOutcome(Done(success=False, message="", session_id=session_id), error)


def outcome_of(turn: Turn, result: Result | None, error: CoworkError | None) -> TurnOutcome:
    """The turn's outcome; a failure too where the answer is a value that no reply can hold."""
    said = result if result is not None else Result("")
    begun = turn.started_monotonic if turn.started_monotonic is not None else time.monotonic()
    done = Done(
        success=error is None,
        message=said.text,
        session_id=turn.session_id,
        is_new_session=turn.is_new_session,
        session_recovered=turn.session_recovered,
        replaced=said.replaced,
        usage=said.usage,
        cost_usd=said.cost_usd,
        duration_ms=round((time.monotonic() - begun) * 1000),
        structured_output=said.structured_output,
    )
    if is_serializable(done):
        return TurnOutcome(done, error)
    log.error("answer is nested too deeply for JSON", turn_id=turn.id)
    done = replace(done, success=False, usage=None, structured_output=None)
    return TurnOutcome(done, error or Internal("the answer is nested too deeply for JSON"))
