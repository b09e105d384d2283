"""How a turn ends: its last event, why it did not succeed, and the state that follows from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from cowork.errors import CoworkError, Internal, ShuttingDown, TurnInterrupted, WorkerUnreachable
from cowork.events import Done


class TurnState(StrEnum):
    """Where a turn is; the last three are for good."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """`done` says what there is of an answer; `error` is None where the turn succeeded."""

    done: Done
    error: CoworkError | None = None

    @property
    def state(self) -> TurnState:
        return state_of(self.error)

    def without_answer(self) -> TurnOutcome:
        """The same end, without what was said."""
        return replace(self, done=without_answer(self.done))


def failed(error: CoworkError, session_id: str | None = None) -> TurnOutcome:
    """The outcome of a turn of which nothing can be said but why it is over."""
    return TurnOutcome(Done(success=False, message="", session_id=session_id), error)


def state_of(error: CoworkError | None) -> TurnState:
    """How a turn with this error has ended."""
    if error is None:
        return TurnState.SUCCEEDED
    stopped = isinstance(error, TurnInterrupted | ShuttingDown)
    return TurnState.INTERRUPTED if stopped else TurnState.FAILED


def without_answer(done: Done) -> Done:
    """The end without the answer."""
    return replace(done, message="", structured_output=None)


def internal_error() -> Internal:
    """The error of a turn that something of ours broke."""
    return Internal("internal server error; see the server log")


def unreachable() -> WorkerUnreachable:
    """The error of what only another worker could do, which cannot be told."""
    return WorkerUnreachable(
        "another worker runs it and cannot be reached from here", retry_after=1
    )


def interrupted() -> TurnInterrupted:
    """The error of a turn that somebody interrupted."""
    return TurnInterrupted("the turn was interrupted")


def without_traceback(error: CoworkError | None) -> CoworkError | None:
    """The error without the frames it came through, whose variables hold questions.

    For one that is kept, and raised again for each reader.
    """
    if error is not None:
        error.with_traceback(None).__context__ = error.__cause__ = None
    return error
