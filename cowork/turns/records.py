"""Turns as the stores keep them, and made of what was kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from typing import Any

from cowork.claude.launch_options import LaunchOptions
from cowork.claude.turn_options import TurnOptions
from cowork.errors import CoworkError, WorkerLost, error_fields, restore_error
from cowork.events import Done
from cowork.log import logger
from cowork.model import PublishedEvents, TurnRecord
from cowork.stores.limits import LOG_SIZE
from cowork.turns.compression import compress, decompress
from cowork.turns.continuation import Continuation
from cowork.turns.earlier_work import EarlierWork
from cowork.turns.event_log import EventLog
from cowork.turns.outcome import TurnOutcome, TurnState, failed
from cowork.turns.question import Question
from cowork.turns.remote_turn import RemoteTurn
from cowork.turns.session_change import SessionChange
from cowork.turns.turn import Turn
from cowork.turns.turn_events import LOG_LIMIT_BYTES

log = logger(__name__)

_OF_ITS_PROCESS = ("options", "turn_options", "blocks")
# Values of an end that were made by others.
_OF_OTHERS = ("usage", "structured_output", "usage_by_model", "permission_denials")
# To ask a class for its fields takes longer than to read them.
_FIELD_NAMES: dict[type, tuple[str, ...]] = {
    kind: tuple(field.name for field in fields(kind)) for kind in (Question, Done)
}


def to_record(
    turn: Turn,
    holder: str,
    outcome: TurnOutcome | None = None,
    *,
    parks_for: Sequence[str] = (),
    work: EarlierWork | None = None,
) -> TurnRecord:
    """The turn as it is now, or with the end that it is about to have.

    Of one that can be parked, for these approvals, there is what another process needs that goes
    on with it, `work` that its present one has done included.
    """
    question = _fields_of(turn.question)
    for name in _OF_ITS_PROCESS:  # which nobody will start for it again
        del question[name]
    if parks_for:
        question["options"] = asdict(turn.question.options)
        question["turn_options"] = asdict(turn.question.turn_options)
    if turn.question.change is not None:
        question["change"] = asdict(turn.question.change)
    if turn.question.continuation is not None:
        question["continuation"] = turn.question.continuation.kept()
    question["text"] = ""  # it waits beside the record, and later in the outbox
    body: dict[str, Any] = {
        "question": question,
        "request_id": turn.request_id,
        "session_id": turn.session_id,
        "is_new_session": turn.is_new_session,
        "session_recovered": turn.session_recovered,
        "was_asked": turn.was_asked,
    }
    if parks_for:
        body["parks_for"] = list(parks_for)
        body["earlier_work"] = turn.earlier_work.plus(work or EarlierWork()).as_json()
    if turn.waiting.ids and outcome is None:
        body["waiting_for"] = list(turn.waiting.ids)
    if turn.cut_after is not None:
        body["cut_after"] = turn.cut_after
    state, ended, error = turn.state, turn.ended_at, None
    if outcome is not None:
        state, ended, error = outcome.state, ended or datetime.now(UTC), outcome.error
        body["end"] = _fields_of(outcome.done)
    if error is not None:
        body["error"] = error_fields(error)
    return TurnRecord(
        id=turn.id,
        project=turn.project,
        state=state.value,
        holder=holder,
        created=turn.created,
        started=turn.started,
        ended=ended,
        body=body,
    )


def minimal_record(record: TurnRecord) -> TurnRecord:
    """An ended turn's record without the values that others made: what can always be kept."""
    end = {**record.body["end"], **dict.fromkeys(_OF_OTHERS)}
    error = record.body.get("error")
    without = {} if error is None else {"error": {**error, "facts": {}}}
    return replace(record, body={**record.body, "end": end, **without})


def compressed_log(turn: Turn) -> bytes | None:
    """The log of a turn that is about to end; None where it is too large to be kept."""
    return compress(turn.dump(), LOG_SIZE)


def is_lost(record: TurnRecord) -> bool:
    """Whether the turn ended by the loss of the process that ran it."""
    return record.ended is not None and record.body.get("end") is None


def from_record(
    record: TurnRecord, compressed: bytes | None, published: Sequence[PublishedEvents] = ()
) -> Turn:
    """The turn of another run or process; it may still run there: see `apply_record`."""
    question = _question_of(record)
    turn = (
        RemoteTurn(record.project, question, holder=record.holder)
        if record.ended is None
        else Turn(record.project, question)
    )
    turn.restore(record.id, record.created, record.body["request_id"])
    apply_record(turn, record, compressed, published)
    return turn


def adopted_turn(record: TurnRecord, compressed: bytes | None, *, is_cut: bool) -> Turn:
    """A turn that another process has parked, for this one to go on with."""
    turn = Turn(record.project, _question_of(record))
    turn.restore(record.id, record.created, record.body["request_id"])
    body = record.body
    turn.cut_after = body.get("cut_after")
    turn.set_session(
        body["session_id"], is_new=body["is_new_session"], recovered=body["session_recovered"]
    )
    turn.was_asked = True  # it waits for a person, whom its process has asked
    turn.adopt(_decompressed(compressed), record.started, is_cut=is_cut)
    turn.steers.restore(each for _, each in turn.steered().values())
    turn.wait_for(tuple(body.get("parks_for", ())))
    turn.add_earlier_work(EarlierWork.from_json(body.get("earlier_work", {})))
    return turn


def _question_of(record: TurnRecord) -> Question:
    asked = _known_fields(Question, record.body["question"])
    options = LaunchOptions(**asked.get("options", {}))
    kept = asked.get("turn_options", {})
    lists = {name: tuple(value) for name, value in kept.items() if isinstance(value, list)}
    change = asked.get("change")
    return Question(
        **{
            **asked,
            "events": tuple(asked.get("events", ())),
            "options": options,
            "turn_options": TurnOptions(**{**kept, **lists}),
            "change": None if change is None else SessionChange(**change),
            "continuation": Continuation.of_json(asked.get("continuation")),
        }
    )


def _log_of(published: Sequence[PublishedEvents]) -> EventLog:
    """The log as far as it was published without a gap."""
    log = EventLog()
    for events in published:
        known = len(log) - (events.first - 1)
        if events.is_end or known < 0:
            break
        log.append_raw(events.codes[known:], b"\n".join(events.lines.split(b"\n")[known:]))
    return log


def apply_record(
    turn: Turn,
    record: TurnRecord,
    compressed: bytes | None,
    published: Sequence[PublishedEvents] = (),
) -> None:
    """Make the turn what the record says, and end it where that has an end.

    `published` is what there is of the log of one whose process was lost.
    """
    body = record.body
    turn.set_session(
        body["session_id"], is_new=body["is_new_session"], recovered=body["session_recovered"]
    )
    turn.was_asked = body.get("was_asked", False)
    turn.update(TurnState(record.state), record.started, record.ended)
    turn.cut_after = body.get("cut_after", turn.cut_after)
    turn.wait_for(tuple(body.get("waiting_for", ())))
    end = end_of(record)
    if end is None:
        return
    done, error = end
    if is_lost(record):
        log = _log_of(published)
        turn.finish_from_record(log, replace(done, message=log.text()), error, is_cut=True)
        return
    turn.finish_from_record(_decompressed(compressed), done, error)


def end_of(record: TurnRecord) -> tuple[Done, CoworkError | None] | None:
    """How the turn has ended, and why it did not succeed; None while it has not."""
    if record.ended is None:
        return None
    end, fault = record.body.get("end"), record.body.get("error")
    if end is None:
        lost = failed(
            WorkerLost("the server's process was lost while it answered"),
            record.body["session_id"],
        )
        return lost.done, lost.error
    return Done(**_known_fields(Done, end)), None if fault is None else restore_error(**fault)


def _fields_of(value: Question | Done) -> dict[str, Any]:
    """As `asdict`, without copying what is in them: it takes longer than all else here."""
    return {name: getattr(value, name) for name in _FIELD_NAMES[type(value)]}


def _known_fields(kind: type[Question | Done], found: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that `kind` has: what was kept may be of another version."""
    names = _FIELD_NAMES[kind]
    return {name: value for name, value in found.items() if name in names}


def _decompressed(compressed: bytes | None) -> EventLog | None:
    if compressed is None:
        return None
    try:
        # Twice the limit: the last thing said may have gone beyond it, and marks take room too.
        return EventLog.load(decompress(compressed, 2 * LOG_LIMIT_BYTES))
    except ValueError:
        log.error("stored event log is corrupt")
        return None
