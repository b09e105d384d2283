"""The turns of a project as a list shows them: what became of each, without its long texts."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cowork.errors import CoworkError
from cowork.events import Done
from cowork.model import Project, TurnFilter, TurnPage, TurnPlace, TurnRecord
from cowork.turns.outcome import TurnState
from cowork.turns.records import end_of
from cowork.turns.turn import Turn
from cowork.turns.waiting import Waiting

# Of the answer, and of a text that an error brings; characters.
TEXT_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class ListedTurn:
    """A turn as it stands, by the names that a `Turn` has.

    `text` is the beginning of the answer of one that has ended, `is_cut` whether there is more.
    """

    id: str
    project: Project
    state: TurnState
    session_id: str | None
    is_new_session: bool
    session_recovered: bool
    created: datetime
    started: datetime | None
    ended_at: datetime | None
    waiting: Waiting
    done: Done | None
    error: CoworkError | None
    text: str
    is_cut: bool


@dataclass(frozen=True, slots=True)
class ListedPage:
    """Some turns, newest first; `next` is behind which the rest are."""

    turns: tuple[ListedTurn, ...]
    next: TurnPlace | None


def of_turn(turn: Turn) -> ListedTurn:
    """A turn that this process runs, or has run."""
    done = turn.done
    return ListedTurn(
        turn.id,
        turn.project,
        turn.state,
        turn.session_id,
        turn.is_new_session,
        turn.session_recovered,
        turn.created,
        turn.started,
        None if done is None else turn.ended_at,
        turn.waiting,
        _without_answer(done),
        None if done is None else turn.error,
        *_beginning(done),
    )


def of_record(record: TurnRecord) -> ListedTurn:
    """A turn of another run or process, as the store has it."""
    body = record.body
    done, error = end_of(record) or (None, None)
    waiting = Waiting()
    if record.ended is None:
        waiting.set(tuple(body.get("waiting_for", ())))
    return ListedTurn(
        record.id,
        record.project,
        TurnState(record.state),
        body["session_id"],
        body["is_new_session"],
        body["session_recovered"],
        record.created,
        record.started,
        record.ended,
        waiting,
        _without_answer(done),
        error,
        *_beginning(done),
    )


def _without_answer(done: Done | None) -> Done | None:
    return None if done is None else replace(done, message="", structured_output=None)


def _beginning(done: Done | None) -> tuple[str, bool]:
    text = "" if done is None else done.message
    return text[:TEXT_LIMIT], len(text) > TEXT_LIMIT


def short_texts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of an error, long texts cut: some bring what was said till then."""
    return {
        name: value[:TEXT_LIMIT] if isinstance(value, str) else value
        for name, value in facts.items()
    }


def page_of(turns: Iterable[Turn], wanted: TurnFilter) -> ListedPage:
    """What `Store.turns` would find of these, which are in any order."""
    found = sorted(
        (turn for turn in turns if _is_wanted(turn, wanted)), key=_place_of, reverse=True
    )
    shown = found[: wanted.limit]
    following = _place_of(shown[-1]) if len(found) > len(shown) else None
    return ListedPage(tuple(map(of_turn, shown)), following)


def page_of_store(page: TurnPage, own: Iterable[Turn], *, gone: Container[str]) -> ListedPage:
    """What the store has found; `own` is what is known here of those that run here.

    Not those that are `gone`, and no forks and rewinds, which ask nothing.
    """
    here = {turn.id: turn for turn in own}
    listed = (
        of_turn(here[record.id]) if record.id in here else of_record(record)
        for record in page.records
        if not record.body["question"].get("change")
        and (record.id in here or record.id not in gone)
    )
    return ListedPage(tuple(listed), page.next)


def _place_of(turn: Turn) -> TurnPlace:
    return TurnPlace(turn.created, turn.id)


def _is_wanted(turn: Turn, wanted: TurnFilter) -> bool:
    if wanted.state is not None and turn.state.value != wanted.state:
        return False
    if wanted.before is not None and _place_of(turn) >= wanted.before:
        return False
    ended, since = (None if turn.done is None else turn.ended_at), wanted.ended_since
    return ended is None or since is None or ended >= since
