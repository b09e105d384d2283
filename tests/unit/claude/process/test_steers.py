"""What the CLI says of messages that it was given while it answers."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from cowork.claude.process import held_events
from cowork.claude.process.held_events import HeldEvents
from cowork.claude.process.steers import Steers, is_dropped
from cowork.events import Token


def said(uuid: str, state: str) -> dict[str, Any]:
    return {"type": "command_lifecycle", "command_uuid": uuid, "state": state}


def test_it_joins_when_the_cli_begins_with_it() -> None:
    steers = Steers()
    assert steers.expect("a")
    assert steers.take(said("a", "queued"), "q") is False
    assert steers.take(said("a", "started"), "q") is True
    assert steers.take(said("a", "completed"), "q") is False
    assert steers.pop_news() == [("a", "joined")]
    assert steers.close() == []
    assert steers.expect("late") is False


@pytest.mark.parametrize("state", ["cancelled", "discarded", "refused"])
def test_it_is_cancelled_when_the_cli_says_so(state: str) -> None:
    steers = Steers()
    steers.expect("a")
    assert steers.take(said("a", state), "q") is True
    assert steers.pop_news() == [("a", "cancelled")]
    assert steers.close() == []


def test_what_is_left_goes_on_and_a_result_may_tell_of_it() -> None:
    steers = Steers()
    for each in ("a", "b", "c"):
        steers.expect(each)
    assert steers.close(["q", "b", 1, None]) == ["a", "c"]
    assert steers.pop_news() == [("b", "joined")]
    assert Steers().close("nonsense") == []


def test_strangers_are_nothing() -> None:
    steers = Steers()
    for message in (said("x", "started"), {"command_uuid": 1, "state": []}, said("q", "queued")):
        assert steers.take(message, "q") is False
    assert steers.has_begun is False
    assert steers.take(said("q", "started"), "q") is False
    assert steers.has_begun is True


def test_the_beginning_is_news_for_who_waits_for_it() -> None:
    steers = Steers()
    assert steers.can_begin() is False
    assert steers.take(said("q", "started"), "q") is True
    assert steers.take(said("q", "started"), "q") is False
    assert steers.can_begin() is True


def test_a_message_that_the_cli_will_not_begin_with_is_told() -> None:
    assert is_dropped(said("a", "cancelled"), "a")
    assert not is_dropped(said("a", "started"), "a")
    assert not is_dropped(said("b", "cancelled"), "a")


def test_events_are_held_in_order_until_somebody_takes_them() -> None:
    held, seen = HeldEvents(), list[Any]()
    held([Token("a")])
    held([Token("b")])
    held.hand_to(seen.extend)
    held([Token("c")])
    assert [each.text for each in seen] == ["a", "b", "c"]


def test_who_brings_too_many_waits_until_somebody_takes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(held_events, "BATCHES_LIMIT", 1)
    held, seen = HeldEvents(), list[Any]()
    held([Token("a")])
    taking = threading.Timer(0.05, held.hand_to, (seen.extend,))
    taking.start()
    held([Token("b")])
    taking.join()
    assert [each.text for each in seen] == ["a", "b"]
