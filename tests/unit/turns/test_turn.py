"""A turn ends once, is stopped for the first reason given, and is read by whoever comes."""

from __future__ import annotations

import threading
import time
import weakref
from functools import partial

import pytest

from cowork.errors import (
    ClaudeFailed,
    ClaudeTimeout,
    ShuttingDown,
    TurnInterrupted,
)
from cowork.events import Done, Failed, Replace, Status, Thinking, Token, TokenBatch
from cowork.model import Project
from cowork.turns.outcome import TurnState
from cowork.turns.question import Question
from cowork.turns.turn import Turn
from cowork.turns.turn_events import LOG_LIMIT_BYTES, WRITE_THROUGH_LIMIT
from tests.patience import PATIENCE_S
from tests.serving import wait_for

ANSWER = Done(success=True, message="answer")


def new_turn(grace=-1.0):
    return Turn(Project("", "p"), Question("why?"), grace=grace)


def soon():
    return time.monotonic() + PATIENCE_S


def test_a_new_turn_waits_and_has_an_id_of_its_own():
    turn, other = new_turn(), new_turn()
    assert turn.state is TurnState.QUEUED
    assert turn.id != other.id
    assert (turn.done, turn.error, turn.text) == (None, None, "")


def test_a_turn_that_begins_runs():
    turn = new_turn()
    turn.begin()
    assert turn.state is TurnState.RUNNING
    assert turn.started_monotonic <= time.monotonic()
    assert turn.started >= turn.created


def test_events_are_numbered_from_one_and_read_behind_a_number():
    turn = new_turn()
    turn.append([Token("a"), Token("b")])
    assert list(turn.read(0, soon())) == [Token("a"), Token("b")]
    assert list(turn.read(1, soon())) == [Token("b")]
    assert list(turn.read(2, time.monotonic())) == []
    assert not turn.ended(2)


def test_the_end_is_the_last_event():
    turn = new_turn()
    turn.append([Token("a")])
    turn.finish(ANSWER)
    assert list(turn.read(0, soon())) == [Token("a"), ANSWER]
    assert turn.ended(2)
    assert not turn.ended(1)
    assert list(turn.read(2, soon())) == []


def test_a_failure_is_told_before_the_end():
    turn = new_turn()
    error = ClaudeFailed("it broke", retry_after=3, signal=9)
    done = Done(success=False, message="half")
    turn.finish(done, error)
    failed = Failed("claude_failed", "it broke", {"signal": 9, "retry_after": 3})
    assert list(turn.read(0, soon())) == [failed, done]
    assert turn.error is error


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, TurnState.SUCCEEDED),
        (ClaudeFailed("x"), TurnState.FAILED),
        (ClaudeTimeout("x"), TurnState.FAILED),
        (TurnInterrupted("x"), TurnState.INTERRUPTED),
        (ShuttingDown("x"), TurnState.INTERRUPTED),
    ],
)
def test_the_state_of_an_ended_turn_says_how_it_ended(error, state):
    turn = new_turn()
    turn.finish(Done(success=error is None, message=""), error)
    assert turn.state is state
    assert turn.ended_at is not None


def test_of_many_ends_one_counts(background):
    turn, ends = new_turn(), []
    turn.on_end(ends.append)
    gate = threading.Barrier(10)

    def finish(number):
        gate.wait(PATIENCE_S)
        return turn.finish(Done(success=True, message=str(number)))

    calls = [background(lambda number=number: finish(number)) for number in range(10)]
    assert sum(call.result(PATIENCE_S) for call in calls) == 1
    assert ends == [turn]
    assert list(turn.read(0, soon())) == [turn.done]


def test_what_comes_after_the_end_is_dropped():
    turn = new_turn()
    turn.finish(ANSWER)
    turn.append([Token("late")])
    turn.begin()
    turn.report_queue_position(1)
    assert turn.finish(Done(success=False, message=""), ClaudeFailed("late")) is False
    assert list(turn.read(0, soon())) == [ANSWER]
    assert (turn.state, turn.error) == (TurnState.SUCCEEDED, None)


def test_the_first_reason_to_stop_counts():
    turn, calls = new_turn(), []
    first, second = TurnInterrupted("first"), ClaudeTimeout("second")
    turn.on_stop(lambda: calls.append(turn.stop_reason))
    assert turn.stop(first)
    assert turn.stop(second)
    assert turn.stop_reason is first
    assert calls[0] is first


def test_a_turn_that_has_ended_is_not_stopped():
    turn, calls = new_turn(), []
    turn.on_stop(lambda: calls.append(1))
    turn.finish(ANSWER)
    assert turn.stop(TurnInterrupted("late")) is False
    assert (turn.stop_reason, calls) == (None, [])


def test_whoever_comes_after_the_stop_is_told_at_once():
    turn, calls = new_turn(), []
    turn.stop(TurnInterrupted("x"))
    turn.on_stop(lambda: calls.append("told"))
    assert calls == ["told"]


def test_only_the_last_who_asked_is_told_of_a_stop():
    turn, calls = new_turn(), []
    turn.on_stop(lambda: calls.append("old"))
    turn.on_stop(lambda: calls.append("new"))
    turn.stop(TurnInterrupted("x"))
    assert calls == ["new"]
    turn.on_stop(None)
    turn.stop(TurnInterrupted("y"))
    assert calls == ["new"]


def test_a_waiting_turn_tells_its_place():
    turn = new_turn()
    turn.report_queue_position(2)
    assert list(turn.read(0, soon())) == [Status("queued", {"position": 2})]


def test_a_reader_gets_what_comes_while_it_waits(background):
    turn = new_turn()
    reader = background(lambda: list(turn.read(0, soon())))
    turn.append([Token("a")])
    assert reader.result(PATIENCE_S) == [Token("a")]


def test_a_reader_that_waits_at_the_end_is_let_go(background):
    turn = new_turn()
    reader, waiter = (
        background(lambda: list(turn.read(0, soon()))),
        background(lambda: turn.wait(soon())),
    )
    turn.finish(ANSWER)
    assert reader.result(PATIENCE_S) == [ANSWER]
    assert waiter.result(PATIENCE_S) == ANSWER


def test_a_reader_waits_no_longer_than_it_wants():
    turn = new_turn()
    begun = time.monotonic()
    assert list(turn.read(0, begun + 0.05)) == []
    assert turn.wait(begun + 0.1) is None
    assert 0.1 <= time.monotonic() - begun < 5


def test_a_woken_reader_looks_at_its_condition_again(background):
    turn, gone = new_turn(), threading.Event()
    reader = background(lambda: list(turn.read(0, soon(), gone.is_set)))
    waiter = background(lambda: turn.wait(soon(), gone.is_set))
    turn.wake()
    gone.set()
    turn.wake()
    assert reader.result(PATIENCE_S) == []
    assert waiter.result(PATIENCE_S) is None


def test_what_a_waiting_reader_takes_does_not_end_its_wait(background):
    turn, taken = new_turn(), []

    def take(batch):
        taken.append((threading.get_ident(), list(batch)))
        return True

    reader = background(lambda: list(turn.read(1, soon(), write_through=take)))
    wait_for(lambda: turn._condition._waiting, what="the reader")
    turn.append([Token("a")])
    turn.append([Token("b"), Token("c")])
    turn.append([Token("d")])
    turn.finish(ANSWER)
    assert reader.result(PATIENCE_S) == []
    here = threading.get_ident()
    assert taken == [
        (here, [Token("b"), Token("c")]),
        (here, [Token("d")]),
        (here, [ANSWER]),
    ]


def test_tokens_are_taken_as_they_are_read_wherever_a_reader_stands(background):
    turn = new_turn()
    runs = [[b'"a"'], [b'"b"', b'"c"'], [b'"d"'], [b'"e"', b'"f"', b'"g"']]
    turn.append([TokenBatch(runs[0])])
    taken: dict[int, list[object]] = {after: [] for after in range(5)}

    def read(after):
        return list(
            turn.read(after, soon(), write_through=lambda batch: not taken[after].extend(batch))
        )

    readers = [background(partial(read, after)) for after in taken]
    wait_for(lambda: len(turn._condition._waiting) == len(readers), what="the readers")
    for run in runs[1:3]:
        turn.append([TokenBatch(run)])
    turn.append([TokenBatch(runs[3]), Thinking("hm")])
    turn.finish(ANSWER)
    assert [reader.result(PATIENCE_S) for reader in readers] == [[]] * len(readers)
    everything = [*map(Token, "abcdefg"), Thinking("hm"), ANSWER]
    assert list(turn.read(0, soon())) == everything
    assert taken == {after: everything[after:] for after in taken}


def test_what_a_waiting_reader_does_not_take_is_given_back(background):
    turn, full, taken = new_turn(), threading.Event(), []

    def take(batch):
        if len(taken) == 2:
            return False
        taken.extend(batch)
        return True

    reader = background(lambda: list(turn.read(0, soon(), write_through=take)))
    wait_for(lambda: turn._condition._waiting, what="the reader")
    for text in "abc":
        turn.append([Token(text)])
    assert reader.result(PATIENCE_S) == [Token("c")]
    assert taken == [Token("a"), Token("b")]
    full.set()
    assert list(turn.read(0, soon(), full.is_set, lambda _: True)) == [Token(c) for c in "abc"]


def test_a_flood_is_read_and_not_taken(background):
    turn, taken = new_turn(), []
    reader = background(
        lambda: list(turn.read(0, soon(), write_through=lambda batch: not taken.extend(batch)))
    )
    wait_for(lambda: turn._condition._waiting, what="the reader")
    flood = [Token(str(number)) for number in range(WRITE_THROUGH_LIMIT + 1)]
    turn.append(flood[:WRITE_THROUGH_LIMIT])
    turn.append(flood)
    assert reader.result(PATIENCE_S) == flood
    assert taken == flood[:WRITE_THROUGH_LIMIT]


def test_a_reader_that_cannot_take_harms_itself_alone(background):
    turn = new_turn()

    def take(_batch):
        raise OSError("no")

    reader = background(lambda: list(turn.read(0, soon(), write_through=take)))
    wait_for(lambda: turn._condition._waiting, what="the reader")
    turn.append([Token("a")])
    assert reader.result(PATIENCE_S) == [Token("a")]
    assert turn.done is None


def test_many_readers_get_the_same(background):
    turn = new_turn()

    def read_all():
        found = []
        while not turn.ended(len(found)):
            found += turn.read(len(found), soon())
        return found

    readers = [background(read_all) for _ in range(8)]
    tokens = [Token(str(number)) for number in range(500)]
    for token in tokens:
        turn.append([token])
    turn.finish(ANSWER)
    assert all(reader.result(PATIENCE_S) == [*tokens, ANSWER] for reader in readers)


def test_a_turn_stops_when_its_last_reader_has_been_gone_for_the_grace():
    turn = new_turn(grace=0.05)
    turn.add_reader()
    turn.add_reader()
    turn.remove_reader()
    time.sleep(0.15)  # what must not happen has no condition to wait for
    assert turn.stop_reason is None
    turn.remove_reader()
    wait_for(lambda: turn.stop_reason is not None)
    assert isinstance(turn.stop_reason, TurnInterrupted)


def test_a_reader_that_comes_back_in_time_keeps_the_turn_going():
    turn = new_turn(grace=0.2)
    turn.add_reader()
    turn.remove_reader()
    turn.add_reader()
    time.sleep(0.4)  # what must not happen has no condition to wait for
    assert turn.stop_reason is None


def test_a_turn_that_has_ended_is_not_missed_by_anyone():
    turn = new_turn(grace=0.0)
    turn.add_reader()
    turn.finish(ANSWER)
    turn.remove_reader()
    assert turn.stop_reason is None


def test_the_text_follows_replacements_and_is_the_ends_in_the_end():
    turn = new_turn()
    turn.append([Token("a"), Token("b"), Replace("new "), Status("x"), Token("c")])
    assert turn.text == "new c"
    turn.finish(ANSWER)
    assert turn.text == "answer"


def test_a_log_beyond_all_bounds_stops_the_turn():
    turn = new_turn()
    block = Token("x" * (LOG_LIMIT_BYTES // 8))
    turn.append([block] * 7)
    assert turn.stop_reason is None
    turn.append([block] * 2)
    assert isinstance(turn.stop_reason, ClaudeFailed)
    turn.close()


def test_a_closed_turn_reads_as_ended():
    turn = new_turn()
    turn.append([Token("x" * 2**21)])
    turn.finish(ANSWER)
    turn.close()
    turn.close()
    assert list(turn.read(0, soon())) == []
    assert turn.ended(0)


def test_fault_t5_a_turn_that_has_ended_keeps_nobody_who_would_be_told_of_its_stop():
    class Process:
        def interrupt(self) -> None:
            """What a stop calls."""

    turn = new_turn()
    turn.finish(Done(success=False, message=""), TurnInterrupted("stopped"))
    process = Process()
    kept = weakref.ref(process)
    turn.on_stop(process.interrupt)
    del process
    assert kept() is None


def test_of_a_stripped_turn_nothing_is_kept_but_its_end_when_its_readers_have_left():
    turn = new_turn()
    turn.append([Token("said")])
    turn.add_reader()
    assert turn.keep_end_only() is True
    turn.finish(Done(success=False, message="said"), TurnInterrupted("deleted"))
    assert turn.keep_end_only() is True
    assert [type(each) for each in turn.read(0, 0.0)] == [Token, Failed, Done]
    assert turn.text == "said"
    turn.remove_reader()
    failed, done = turn.read(0, 0.0)
    assert (failed.code, done.message, turn.text) == ("turn_interrupted", "", "")
    assert turn.log_is_complete is False
    turn.remove_reader()
    assert turn.event_count == 2
    turn.close()


def test_a_turn_that_ends_just_now_is_not_stripped():
    ending, ended = new_turn(), new_turn()
    assert ending.try_begin_finish()
    ended.finish(Done(success=True, message="said"))
    for turn in (ending, ended):
        assert turn.keep_end_only() is False
    ending.finish(Done(success=True, message="said"))
    assert ending.text == ended.text == "said"
