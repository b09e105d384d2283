"""What was said to a turn, and what has become of it."""

from __future__ import annotations

import threading
import time

import pytest

from cowork.errors import IdempotencyMismatch, QueueFull, TurnEnded
from cowork.events import Done, Status, Token
from cowork.model import Project
from cowork.turns import steers
from cowork.turns.question import Question
from cowork.turns.turn import Turn


@pytest.fixture
def turn() -> Turn:
    made = Turn(Project("", "p"), Question("q"))
    made.begin()
    return made


def states(turn: Turn) -> dict[str, str]:
    return {name: steer.state for name, (_, steer) in turn.steered().items()}


def test_the_log_tells_of_each(turn: Turn) -> None:
    turn.append([Token("a")])
    assert turn.steers.add("one", turn.id, "text") is True
    turn.append([Token("b")])
    turn.steers.settle("one", "joined")
    events = turn.read(0, 0.0)
    assert [type(event) for event in events] == [Token, Status, Token, Status]
    place, steer = turn.steered()["one"]
    assert (place, steer.text, steer.state, steer.turn_id) == (2, "text", "joined", turn.id)


def test_what_is_settled_stays_so(turn: Turn) -> None:
    turn.steers.add("one", turn.id, "text")
    turn.steers.settle("one", "queued", "other")
    turn.steers.settle("one", "cancelled")
    turn.steers.settle("unknown", "cancelled")
    assert states(turn) == {"one": "queued"}
    assert turn.steered()["one"][1].turn_id == "other"


def test_an_id_is_said_once(turn: Turn) -> None:
    assert turn.steers.add("one", turn.id, "text") is True
    assert turn.steers.add("one", turn.id, "text") is False
    with pytest.raises(IdempotencyMismatch):
        turn.steers.add("one", turn.id, "another")
    assert len(turn.read(0, 0.0)) == 1


def test_what_waits_and_what_there_is_altogether_is_bounded(
    turn: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        turn.steers.add(f"{number}", turn.id, "x")
    with pytest.raises(QueueFull):
        turn.steers.add("more", turn.id, "x")
    for number in range(8):
        turn.steers.settle(f"{number}", "joined")
    monkeypatch.setattr(steers, "BYTES_LIMIT", 20)
    with pytest.raises(QueueFull):
        turn.steers.add("more", turn.id, "ä" * 10)
    turn.steers.add("more", turn.id, "ä" * 6)
    monkeypatch.setattr(steers, "COUNT_LIMIT", 9)
    turn.steers.settle("more", "joined")
    with pytest.raises(QueueFull):
        turn.steers.add("last", turn.id, "")


def test_a_turn_that_ends_takes_nothing_and_cancels_what_waits(turn: Turn) -> None:
    turn.steers.add("one", turn.id, "x")
    turn.steers.add("two", turn.id, "x")
    turn.steers.settle("two", "joined")
    turn.steers.cancel_waiting()
    with pytest.raises(TurnEnded):
        turn.steers.add("late", turn.id, "x")
    turn.finish(Done(success=True, message=""))
    assert states(turn) == {"one": "cancelled", "two": "joined"}
    assert [event.facts["state"] for event in turn.read(0, 0.0) if isinstance(event, Status)] == [
        "pending",
        "pending",
        "joined",
        "cancelled",
    ]


def test_of_a_log_that_was_cut_what_waited_is_cancelled(turn: Turn) -> None:
    turn.steers.add("one", turn.id, "x")
    turn.finish(Done(success=False, message=""))
    assert states(turn) == {"one": "cancelled"}


def test_who_has_said_something_waits_until_the_cli_has_it(turn: Turn) -> None:
    turn.steers.add("one", turn.id, "x")
    begun = time.monotonic()
    turn.steers.wait_given("one", 0.05)
    assert time.monotonic() - begun >= 0.05
    (steer,) = turn.steers.waiting()
    giving = threading.Timer(0.05, turn.steers.note_given, (steer,))
    giving.start()
    turn.steers.wait_given("one", 10.0)
    assert time.monotonic() - begun < 5
    giving.join()
    assert turn.steers.untold() == [steer]


def test_another_process_gets_it_again(turn: Turn) -> None:
    turn.steers.add("one", turn.id, "x")
    turn.steers.note_given(turn.steers.waiting()[0])
    turn.steers.take_back()
    assert [each.is_given for each in turn.steers.waiting()] == [False]
    other = Turn(Project("", "p"), Question("q"))
    other.steers.restore(each for _, each in turn.steered().values())
    assert [(each.id, each.text, each.is_given) for each in other.steers.waiting()] == [
        ("one", "x", False)
    ]
