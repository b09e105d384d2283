"""A turn has as long as the operator allows, or less; in a stream the CLI's silence counts."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from cowork.errors import ClaudeTimeout, TurnInterrupted
from cowork.model import Project
from cowork.turns.question import Question
from cowork.turns.running.deadline import Deadline
from cowork.turns.turn import Turn


def running(**question):
    turn = Turn(Project("", "p"), Question("why?", **question))
    turn.begin()
    return turn


def reply(last_activity):
    return SimpleNamespace(process=SimpleNamespace(last_activity=last_activity))


@pytest.mark.parametrize(("asked", "seconds"), [(None, 300), (20, 20), (900, 300)])
def test_a_request_can_only_shorten_what_the_operator_allows(asked, seconds):
    turn = running(timeout=asked)
    assert Deadline(turn, 300).at() == turn.started_monotonic + seconds


def test_a_streams_deadline_moves_with_every_sign_of_life():
    now = time.monotonic()
    assert Deadline(running(streaming=True), 300).at(reply(now + 50)) == now + 350
    whole = running()
    assert Deadline(whole, 300).at(reply(now + 50)) == whole.started_monotonic + 300


def test_a_turn_whose_deadline_has_passed_is_stopped_and_no_other():
    late, early, stopped = running(), running(), running()
    assert Deadline(early, 300).check() is False
    assert early.stop_reason is None
    assert Deadline(late, 0).check() is True
    assert isinstance(late.stop_reason, ClaudeTimeout)
    stopped.stop(TurnInterrupted("stop"))
    assert Deadline(stopped, 0).check() is True
    assert isinstance(stopped.stop_reason, TurnInterrupted)
