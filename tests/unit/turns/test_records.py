"""A turn that is kept and revived is what it was, and what was lost of it is said."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from cowork.claude.launch_options import LaunchOptions
from cowork.claude.turn_options import TurnOptions
from cowork.errors import (
    ClaudeRateLimited,
    CoworkError,
    Internal,
    InvalidValue,
    UpstreamRefused,
    restore_error,
)
from cowork.events import Done, Failed, Token
from cowork.model import Project
from cowork.stores.serialization import record_json
from cowork.stores.serialization import record_of as record_from_json
from cowork.turns.compression import compress, decompress
from cowork.turns.earlier_work import EarlierWork
from cowork.turns.outcome import TurnOutcome, TurnState
from cowork.turns.question import Question
from cowork.turns.records import (
    adopted_turn,
    apply_record,
    compressed_log,
    from_record,
    to_record,
)
from cowork.turns.session_change import SessionChange
from cowork.turns.turn import Turn

QUESTION = Question("why?\n日本", user_id="u", message_type="@xo", skill="s", timeout=9.0)
DONE = Done(
    success=True,
    message="be cause",
    session_id="s-1",
    is_new_session=True,
    session_recovered=True,
    usage={"input_tokens": 3},
    cost_usd=0.25,
    duration_ms=12,
)


def turn(*texts):
    made = Turn(Project("me", "p"), QUESTION)
    made.begin()
    made.session_id, made.is_new_session, made.session_recovered = "s-1", True, True
    made.append([Token(text) for text in texts])
    return made


def kept(of, done=DONE, error=None):
    """The turn's record and log as they come out of a store; the turn has ended."""
    assert of.try_begin_finish()
    log = compressed_log(of)
    record = to_record(of, "holder", TurnOutcome(done, error))
    of.finish(done, error)
    return record_from_json(record_json(record), {}), log


def test_a_change_of_the_session_is_kept_with_what_it_made():
    change = SessionChange("t-1", to="q", files="restore")
    asked = Turn(Project("me", "p"), Question("", change=change))
    asked.begin()
    done = Done(success=True, message="", change={"project": "q", "files": None})
    record, log = kept(asked, done)
    again = from_record(record, log)
    assert again.question.change == asked.question.change == change
    assert again.done.change == done.change
    invalid = InvalidValue("no such turn", field="to_turn")
    asked = Turn(Project("me", "p"), Question("", change=change))
    record, log = kept(asked, Done(success=False, message=""), invalid)
    error = from_record(record, log).error
    assert isinstance(error, InvalidValue)
    assert (error.message, error.field) == ("no such turn", "to_turn")


FACTS = [
    "id",
    "project",
    "question",
    "request_id",
    "created",
    "started",
    "ended_at",
    "state",
    "done",
    "session_id",
    "is_new_session",
    "session_recovered",
    "text",
    "event_count",
]


def test_a_turn_is_revived_as_it_was():
    was = turn("be ", "cause")
    again = from_record(*kept(was))
    for name in FACTS:
        assert getattr(again, name) == getattr(was, name), name
    assert again.read(0, time.monotonic())[:] == was.read(0, time.monotonic())[:]
    assert again.error is None
    assert again.log_is_complete


def test_an_error_is_revived_as_it_was():
    was = turn("half")
    error = ClaudeRateLimited("wait", retry_after=30, kind="five_hour")
    again = from_record(*kept(was, replace(DONE, success=False, message="half"), error))
    assert again.state is TurnState.FAILED
    assert type(again.error) is ClaudeRateLimited
    assert (again.error.message, again.error.retry_after) == ("wait", 30)
    assert again.error.facts == {"kind": "five_hour"}
    assert again.read(1, 0)[0] == Failed(
        "claude_rate_limited", "wait", {"kind": "five_hour", "retry_after": 30}
    )


@pytest.mark.parametrize("packed", [None, b"", b"garbage", compress([b"no log"], 999)])
def test_a_turn_whose_log_is_lost_still_has_its_answer(packed):
    record, _ = kept(turn("be ", "cause"))
    again = from_record(record, packed)
    assert again.done == DONE
    assert not again.log_is_complete
    assert again.read(0, 0)[:] == [Token("be cause"), DONE]


def test_a_turn_without_an_end_whose_process_is_gone_was_lost():
    record = replace(to_record(turn(), "holder"), state="failed", ended=turn().created)
    again = from_record(record, None)
    assert again.state is TurnState.FAILED
    assert again.error.code == "worker_lost"
    assert again.done.success is False
    # Whoever has read some of it learns how it ended, by a number that none of it has.
    assert again.place_of(7) == 0
    assert [again.number_of(place) for place in (1, 2)] == [10**9 + 1, 10**9 + 2]
    assert again.place_of(10**9 + 2) == again.event_count == 2


def test_a_turn_that_runs_elsewhere_is_followed_to_its_end():
    was = turn("be ", "cause")
    again = from_record(to_record(was, "holder"), None)
    assert (again.state, again.done) == (TurnState.RUNNING, None)
    ended = []
    again.on_end(ended.append)
    apply_record(again, *kept(was))
    assert ended == [again]
    assert again.done == DONE
    assert again.read(0, 0)[:] == was.read(0, 0)[:]


def test_a_record_of_another_version_is_read_as_far_as_it_is_known():
    record, log = kept(turn("x"))
    body = {**record.body, "end": {**record.body["end"], "new": 1}}
    body["question"] = {"text": "why?", "user_id": "me", "newer": True}
    again = from_record(replace(record, body=body), log)
    assert again.question == Question("", user_id="me")


def test_every_error_is_revived_by_its_code_or_as_one_of_ours():
    assert type(restore_error("claude_rate_limited", "m", {}, None)) is ClaudeRateLimited
    assert type(restore_error("no_such_code", "m", {}, None)) is Internal
    refused = restore_error(UpstreamRefused.code, "m", {"upstream": "x"}, None)
    assert isinstance(refused, CoworkError)


def test_what_is_packed_is_unpacked_equal():
    data = [os.urandom(1000), b"x" * (1 << 18), b"", b"y" * 5]
    packed = compress(iter(data), 10**6)
    assert len(packed) < 5000
    assert decompress(packed, 10**6) == b"".join(data)


def test_too_much_is_not_packed_and_not_unpacked():
    assert compress([os.urandom(10_000)], 5000) is None
    bomb = compress([b"\0" * (1 << 20)], 10**6)
    with pytest.raises(ValueError, match="compressed"):
        decompress(bomb, 1 << 19)


def test_a_log_that_was_cut_is_no_log():
    packed = compress([os.urandom(10_000)], 10**6)
    with pytest.raises(ValueError, match="compressed"):
        decompress(packed[:5000], 10**6)


def test_a_turn_that_waits_is_adopted_with_what_it_was_asked_and_has_done():
    options = LaunchOptions(approvals=True, permission_mode="plan")
    rules = TurnOptions(model="haiku", effort="low", disallowed_tools=("Bash",))
    limits = {"max_turns": 3, "max_budget_usd": 0.5}
    asked = Question("why?", options=options, turn_options=rules, events=("tool",), **limits)
    was = Turn(Project("me", "p"), asked)
    was.begin()
    was.append([Token("half")])
    was.add_earlier_work(EarlierWork(files_changed=("a.txt",)))
    now = EarlierWork({"input_tokens": 1}, {"big": {"input_tokens": 1, "cost_usd": 0.5}})
    record = to_record(was, "holder", parks_for=("approval",), work=now)
    record = record_from_json(record_json(record), {})
    again = adopted_turn(record, compressed_log(was), is_cut=True)
    assert replace(again.question, text="why?") == asked
    assert (again.text, again.waiting.ids) == ("half", ("approval",))
    assert again.earlier_work.files_changed == ("a.txt",)
    assert again.earlier_work.cost_usd == 0.5
    # One of an earlier version has neither.
    older = {name: value for name, value in record.body.items() if name != "earlier_work"}
    older["question"] = {**older["question"], "turn_options": {}}
    again = adopted_turn(replace(record, body=older), None, is_cut=True)
    assert (again.question.turn_options, bool(again.earlier_work)) == (TurnOptions(), False)
