"""What is asked again finds its turn: by the client's key, or by what is the same each time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cowork.errors import AtCapacity, ClaudeFailed, IdempotencyMismatch, StoreUnavailable
from cowork.events import Done
from cowork.model import Project, TurnKey
from cowork.stores.memory.store import MemoryStore
from cowork.telemetry.metrics import NO_METRICS
from cowork.turns.question import Question
from cowork.turns.registry import TurnRegistry
from cowork.turns.replays import Replays
from cowork.turns.turn import Turn

KEY = TurnKey("", "k", "digest")
SOON = timedelta(minutes=10)


class AwayStore(MemoryStore):
    """Cannot be told of keys."""

    def bind_key(self, key: TurnKey, turn_id: str, *, replaces: bool = False) -> None:
        del key, turn_id, replaces
        raise StoreUnavailable("away")


@pytest.fixture
def turns() -> TurnRegistry:
    return TurnRegistry(store=MemoryStore(), retention=600.0)


def begun(turns: TurnRegistry) -> Turn:
    turn, _ = turns.get_or_create(None, lambda: Turn(Project("", "p"), Question("why?")))
    turn.on_end(turns.on_turn_ended)
    return turn


def test_the_last_turn_is_found_whatever_becomes_of_the_first(turns: TurnRegistry) -> None:
    replays = Replays(turns, NO_METRICS)
    first, second = begun(turns), begun(turns)
    replays.remember(KEY, first)
    assert replays.find_recent(KEY, SOON) is first
    replays.remember(KEY, second)
    first.fail(ClaudeFailed("died"))
    turns.forget_project(first.project)  # with all its keys
    assert replays.find_recent(KEY, SOON) is second


def test_a_turn_is_found_while_it_runs_and_for_a_while_after(turns: TurnRegistry) -> None:
    replays = Replays(turns, NO_METRICS)
    turn = begun(turns)
    turn.created = datetime.now(UTC) - timedelta(hours=1)
    replays.remember(KEY, turn)
    assert replays.find_recent(KEY, SOON) is turn
    turn.finish(Done(success=True, message="because"))
    assert replays.find_recent(KEY, SOON) is turn
    turn.ended_at = datetime.now(UTC) - timedelta(minutes=11)
    assert replays.find_recent(KEY, SOON) is None
    assert replays.find(KEY) is turn


def test_a_turn_that_asked_nothing_is_not_found(turns: TurnRegistry) -> None:
    replays = Replays(turns, NO_METRICS)
    turn = begun(turns)
    replays.remember(KEY, turn)
    turn.fail(AtCapacity("all processes are busy"))
    assert replays.find_recent(KEY, SOON) is None


def test_another_digest_is_a_mismatch(turns: TurnRegistry) -> None:
    replays = Replays(turns, NO_METRICS)
    replays.remember(KEY, begun(turns))
    with pytest.raises(IdempotencyMismatch):
        replays.find(TurnKey("", "k", "other"))


def test_a_turn_goes_on_whose_key_the_store_cannot_be_told() -> None:
    turns = TurnRegistry(store=AwayStore(), retention=600.0)
    replays = Replays(turns, NO_METRICS)
    turn = begun(turns)
    replays.remember(KEY, turn)
    assert replays.find_recent(KEY, SOON) is turn
