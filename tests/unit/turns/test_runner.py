"""A turn ends once, with what there is to say of it, and its process and project are free again."""

from __future__ import annotations

import gc
import time
import weakref

import orjson
import pytest

from cowork.claude.process.pending_answer import PendingAnswer
from cowork.claude.stream_json.answer import AnswerParser
from cowork.claude.stream_json.result import Result
from cowork.errors import ClaudeFailed, TurnInterrupted
from cowork.events import Done, Failed
from cowork.model import TurnKey, UsageBy
from cowork.turns.outcome import TurnState
from cowork.turns.question import Question
from cowork.web.frames import frame_data
from tests.serving import wait_for
from tests.unit.stores.store_suite import usage
from tests.unit.turns.broken_parts import Break, P, Process, Reader, Server, ended

# More levels than any writer of JSON takes, and than Python's own would.
DEPTHS = (249, 250, 251, 252, 253, 254, 255, 300, 900)


def nested(levels):
    value = "the bottom"
    for _ in range(levels):
        value = {"inside": value}
    return value


class Structured(Process):
    """Answers with a value."""

    result = Result("hi")

    def ask(self, _prompt, on_events, **_how):
        reply = PendingAnswer(self, AnswerParser("x"), on_events)
        reply.finish(self.result)
        return reply


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path)
    yield made
    made.close()


def asked(server, result):
    """A turn whose process says this."""
    kind = type("Saying", (Structured,), {"result": result})
    server.pool.kind = kind
    return server.ask("one")


def test_fault_t5_a_turn_that_was_stopped_while_it_got_its_process_does_not_keep_it(server):
    kept = []

    class Stopping(Process):
        def __init__(self, *given, **named):
            super().__init__(*given, **named)
            kept.append(weakref.ref(self))
            (turn,) = server.service._queues.all()
            turn.stop(TurnInterrupted("nobody listens"))

    server.pool.kind = Stopping
    turn = server.ask("one")
    ended(turn)
    wait_for(lambda: not server.service.busy(), what="the queue's end")
    assert turn.error is turn.stop_reason
    gc.collect()
    assert [each() for each in kept] == [None]


@pytest.mark.parametrize("levels", DEPTHS)
def test_fault_t1_an_answer_too_deep_for_json_ends_its_turn(levels, server):
    value = nested(levels)
    turn = asked(server, Result("text", structured_output=value, usage={"input_tokens": 3}))
    reader = Reader(turn)
    ended(turn)
    reader.end()
    if turn.error is None:
        assert turn.done.structured_output == value
        assert reader.events[-1] == turn.done
        assert (
            orjson.loads(frame_data(turn.done, frozenset(), turn.id))["structured_output"] == value
        )
        assert orjson.dumps({"detail": [turn.done]})
    else:
        assert levels > 245
        assert turn.error.code == "internal"
        assert isinstance(reader.events[-2], Failed)
        assert reader.events[-1] == Done(
            success=False,
            message="text",
            session_id=turn.session_id,
            is_new_session=True,
            duration_ms=turn.done.duration_ms,
        )
    assert ended(server.ask("one")) is turn
    record, log = server.store.turn(P.owner, turn.id)
    assert record.state == turn.state.value
    assert log is not None
    asked_next = asked_again(server)
    assert asked_next.error is None
    wait_for(lambda: not server.pool.leased, what="the end of the queue")


def asked_again(server):
    server.pool.kind = Process
    return ended(server.ask("two"))


@pytest.mark.parametrize(
    "usage",
    [{"input_tokens": 10**40}, {"x": nested(400)}, {"x": "\ud800"}, {5: 6}, {"x": float("inf")}],
    ids=["huge", "deep", "surrogate", "number", "infinity"],
)
def test_a_usage_that_json_cannot_hold_does_not_hang_its_turn(usage, server):
    turn = ended(asked(server, Result("text", usage=usage)))
    assert turn.state in {TurnState.SUCCEEDED, TurnState.FAILED}
    assert server.store.turn(P.owner, turn.id)[0].ended is not None
    assert asked_again(server).error is None


def test_fault_t1_a_log_that_breaks_ends_its_turn_as_internal(server):
    class Unwritable:
        """A log that takes nothing."""

        size = 0

        def __len__(self):
            return 0

        def append(self, _event):
            raise MemoryError

        def read(self, _after):
            return []

        def dump(self):
            raise MemoryError

    made = server.service.registry.get_or_create

    def get_or_create(key, make):
        def broken():
            turn = make()
            turn._log = Unwritable()
            return turn

        return made(key, broken)

    server.service.registry.get_or_create = get_or_create
    turn = ended(server.ask("one"))
    assert (turn.state, turn.error.code) == (TurnState.FAILED, "internal")
    server.service.registry.get_or_create = made
    assert ended(server.ask("two")).error is None


@pytest.mark.parametrize("fault", ["plain", "killed"])
def test_a_turn_that_is_stopped_while_its_end_is_written_has_one_end(fault, tmp_path):
    server = Server(tmp_path, Break("end_turn", 1, fault), "store", {"silent": True})
    try:
        key = TurnKey(P.owner, "one", "digest")
        turn, _ = server.service.ask(P, Question("one"), key=key)
        server.service.interrupts.interrupt(turn)
        assert ended(turn).done is turn.done
        server.pool.kind = Process
        server.pool._launch_config["silent"] = False
        assert ended(server.ask("two")).error is None
        assert turn.wait(time.monotonic()) is turn.done
    finally:
        server.close()


MODELS = {"big": {"input_tokens": 5, "cost_usd": 0.5}, "small": {"cost_usd": 0.25}}


@pytest.mark.parametrize(
    "how", [{}, {"error": ClaudeFailed("died")}, {"interrupted": True}], ids=str
)
def test_a_turn_is_counted_however_it_ends(how, server):
    result = Result("text", usage_by_model=MODELS, cost_usd=0.75, **how)
    turn = ended(asked(server, result))
    assert (turn.error is None) is (how == {})
    assert [(row.turns, row.cost_usd) for row in usage(server.store)] == [(1, 0.75)]
    by_model = [(row.model, row.turns) for row in usage(server.store, UsageBy.MODEL)]
    assert by_model == [("big", 1), ("small", 0)]
    kept = server.store.session(P)
    assert (kept.turns, kept.cost_usd) == (1, 0.75)


@pytest.mark.parametrize("after", [False, True])
def test_a_turn_whose_end_breaks_is_counted_once(after, tmp_path):
    server = Server(tmp_path, Break("record_ended", 1, "plain", after=after), "recorder")
    try:
        ended(asked(server, Result("text", usage_by_model=MODELS)))
        assert [row.turns for row in usage(server.store)] == [1]
    finally:
        server.close()


def test_a_turn_that_was_stopped_before_the_cli_was_asked_is_not_counted(tmp_path):
    server = Server(tmp_path, launch_config={"silent": True})
    try:
        running, waits = server.ask("one"), server.ask("two")
        wait_for(lambda: len(running.read(0, 0)) > 0, what="the first token")
        server.service.interrupts.interrupt(waits)
        ended(waits)
        assert usage(server.store) == []
        server.service.interrupts.interrupt(running)
        ended(running)
        assert [row.turns for row in usage(server.store)] == [1]
    finally:
        server.close()
