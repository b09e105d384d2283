"""A project's turns run one after the other, in order, whatever breaks in between."""

from __future__ import annotations

import threading
from collections import deque

import pytest

from cowork.errors import ProjectBusy, QueueFull, ShuttingDown, StoreUnavailable, TurnInterrupted
from cowork.events import Done
from cowork.model import Project
from cowork.turns.outcome import TurnState
from cowork.turns.question import Question
from cowork.turns.queues import ProjectQueues
from cowork.turns.turn import Turn
from tests.patience import PATIENCE_S
from tests.serving import wait_for
from tests.unit.turns.broken_parts import ended

P = Project("", "p")
STOPPED = TurnInterrupted("stop")


class Moody(Turn):
    """A turn of which the methods named in `broken` raise, each at its first call."""

    def __init__(self, *broken):
        super().__init__(P, Question("why?"))
        self.broken = set(broken)

    def _may_break(self, name):
        if name in self.broken:
            self.broken.remove(name)
            raise RuntimeError("told to break")

    def begin(self):
        self._may_break("begin")
        super().begin()

    def report_queue_position(self, ahead):
        self._may_break("report_queue_position")
        super().report_queue_position(ahead)

    def on_stop(self, call):
        super().on_stop(call)
        self._may_break("on_stop")


class Work:
    """What queues call: each turn waits for its `go`, then ends, or breaks where it is told to."""

    def __init__(self):
        self.breaking = {}
        self.taken = []
        self.cancelled = []
        self.go = threading.Event()

    def run(self, turn):
        self.taken.append(turn)
        assert self.go.wait(PATIENCE_S)
        if "run" in self.breaking:
            raise self.breaking.pop("run")
        turn.finish(Done(success=True, message="hi"))

    def on_cancelled(self, turn):
        self.cancelled.append(turn)
        if "on_cancelled" in self.breaking:
            raise self.breaking.pop("on_cancelled")
        turn.finish(Done(success=False, message=""), turn.stop_reason)


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def queues(work):
    made = ProjectQueues(limit=8, run=work.run, on_cancelled=work.on_cancelled)
    yield made
    work.go.set()
    wait_for(lambda: not made.all(), PATIENCE_S, "the end of every turn")
    made.close()


def submitted(queues, *turns, on_busy="queue"):
    for turn in turns:
        submit(queues, turn, on_busy)
    return turns


def submit(queues, turn, on_busy, accept=lambda _: None):
    """As a question is accepted: a place, what has to succeed besides, the start."""
    place = queues.reserve(turn, on_busy)
    try:
        accept(turn)
    except BaseException:
        queues.withdraw(place)
        raise
    queues.start(place)


def test_turns_run_in_order_and_one_at_a_time(queues, work):
    turns = submitted(queues, *(Moody() for _ in range(5)))
    assert [turn.queue_position for turn in turns] == [0, 1, 2, 3, 4]
    assert queues.running(P) is turns[0]
    work.go.set()
    assert all(ended(turn).error is None for turn in turns)
    assert work.taken == list(turns)


def test_a_turn_that_interrupts_goes_first(queues, work):
    first, second, third = Moody(), Moody(), Moody()
    submitted(queues, first, second)
    submitted(queues, third, on_busy="interrupt")
    work.go.set()
    assert all(ended(turn).error is None for turn in (first, second, third))
    assert work.taken == [first, third, second]


def test_a_busy_project_refuses_as_it_is_told(queues):
    submitted(queues, *(Moody() for _ in range(9)))
    with pytest.raises(ProjectBusy):
        submit(queues, Moody(), "reject")
    with pytest.raises(QueueFull):
        submit(queues, Moody(), "queue")


def test_a_closed_queue_lets_nobody_in(queues):
    queues.close()
    with pytest.raises(ShuttingDown):
        submit(queues, Moody(), "queue")


def test_a_waiting_turn_that_is_stopped_leaves(queues, work):
    _, waiting, behind = submitted(queues, Moody(), Moody(), Moody())
    waiting.stop(STOPPED)
    assert waiting.error is STOPPED
    assert queues.turns_of(P)[1:] == [behind]
    assert work.cancelled == [waiting]


def test_a_turn_that_is_not_accepted_is_not_in_the_way(queues, work):
    def refuse(_turn):
        raise StoreUnavailable("away")

    for waiting in (False, True):
        if waiting:
            submitted(queues, Moody())
        with pytest.raises(StoreUnavailable):
            submit(queues, Moody(), "queue", refuse)
        assert len(queues.all()) == waiting
    work.go.set()


@pytest.mark.parametrize("fault", [RuntimeError("x"), StoreUnavailable("x"), GeneratorExit()])
@pytest.mark.parametrize("also_cancelled", [False, True])
def test_fault_t1_a_take_that_raises_ends_its_turn_and_the_next_is_taken(
    fault, also_cancelled, queues, work
):
    work.breaking["run"] = fault
    if also_cancelled:
        work.breaking["on_cancelled"] = RuntimeError("x")
    broken, following = submitted(queues, Moody(), Moody())
    work.go.set()
    assert ended(broken).error.code == "internal"
    assert ended(following).error is None


def test_a_left_that_raises_ends_its_turn(queues, work):
    work.breaking["on_cancelled"] = RuntimeError("x")
    _, waiting = submitted(queues, Moody(), Moody())
    waiting.stop(STOPPED)
    assert ended(waiting).error is STOPPED


@pytest.mark.parametrize("method", ["begin", "report_queue_position", "on_stop"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_fault_t1_a_turn_that_breaks_holds_up_nobody(method, place, queues, work):
    turns = [Moody() for _ in range(4)]
    turns[place].broken = {method}
    accepted = []
    for turn in turns:
        try:
            submit(queues, turn, "queue")
        except RuntimeError:
            assert turn is turns[place]  # it broke before it was let in
        else:
            accepted.append(turn)
    # What is told of its position after it was let in cannot be told again.
    turns[-1].broken |= {"report_queue_position"}
    work.go.set()
    for turn in accepted:
        ended(turn)
        assert (turn.error is None) or turn is turns[place]
    assert ended(submitted(queues, Moody())[0]).error is None


class NoThreads:
    """CachedThreadPool that cannot be started, but for the first `count`."""

    def __init__(self, real, count=0):
        self._real = real
        self._count = count

    def run(self, call):
        if self._count <= 0:
            raise RuntimeError("can't start new thread")
        self._count -= 1
        self._real.run(call)

    def close(self):
        self._real.close()


def test_fault_t1_a_turn_without_a_thread_ends_and_so_do_those_behind_it(queues, work):
    queues._threads = NoThreads(queues._threads)
    behind = deque()

    def accept(_turn):
        behind.append(Moody())
        if len(behind) < 3:
            submit(queues, behind[-1], "queue", accept)

    turn = Moody()
    submit(queues, turn, "queue", accept)
    assert ended(turn).error.code == "at_capacity"
    assert turn.error.retry_after == 5
    assert all(ended(each).error.code == "at_capacity" for each in [*behind][:2])
    assert not queues.all()
    assert not work.taken


def test_a_turn_that_was_stopped_before_it_began_is_taken_all_the_same(queues, work):
    turn = Moody()
    submit(queues, turn, "queue", lambda each: each.stop(STOPPED))
    wait_for(lambda: work.taken == [turn], PATIENCE_S, "the turn's being taken")
    assert turn.state is TurnState.RUNNING
