"""A project's turns run one after the other, in order, whatever breaks in between."""

from __future__ import annotations

import threading
from collections import deque

import pytest

from cowork.errors import ProjectBusy, QueueFull, ShuttingDown, StoreUnavailable, TurnInterrupted
from cowork.events import Done
from cowork.model import Project
from cowork.turns.queues import ProjectQueues
from cowork.turns.turn import Question, State, Turn
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
    """What lanes call: each turn waits for its `go`, then ends, or breaks where it is told to."""

    def __init__(self):
        self.breaking = {}
        self.taken = []
        self.left_ones = []
        self.go = threading.Event()

    def take(self, turn):
        self.taken.append(turn)
        assert self.go.wait(PATIENCE_S)
        if "take" in self.breaking:
            raise self.breaking.pop("take")
        turn.finish(Done(success=True, message="hi"))

    def left(self, turn):
        self.left_ones.append(turn)
        if "left" in self.breaking:
            raise self.breaking.pop("left")
        turn.finish(Done(success=False, message=""), turn.stop_reason)


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def lanes(work):
    made = ProjectQueues(limit=8, take=work.take, left=work.left)
    yield made
    work.go.set()
    wait_for(lambda: not made.all(), PATIENCE_S, "the end of every turn")
    made.shut()


def entered(lanes, *turns, on_busy="queue"):
    for turn in turns:
        lanes.enter(turn, on_busy)
    return turns


def test_turns_run_in_order_and_one_at_a_time(lanes, work):
    turns = entered(lanes, *(Moody() for _ in range(5)))
    assert [turn.queue_position for turn in turns] == [0, 1, 2, 3, 4]
    assert lanes.running(P) is turns[0]
    work.go.set()
    assert all(ended(turn).error is None for turn in turns)
    assert work.taken == list(turns)


def test_a_turn_that_interrupts_goes_first(lanes, work):
    first, second, third = Moody(), Moody(), Moody()
    entered(lanes, first, second)
    entered(lanes, third, on_busy="interrupt")
    work.go.set()
    assert all(ended(turn).error is None for turn in (first, second, third))
    assert work.taken == [first, third, second]


def test_a_busy_project_refuses_as_it_is_told(lanes):
    entered(lanes, *(Moody() for _ in range(9)))
    with pytest.raises(ProjectBusy):
        lanes.enter(Moody(), "reject")
    with pytest.raises(QueueFull):
        lanes.enter(Moody(), "queue")


def test_a_shut_lane_lets_nobody_in(lanes):
    lanes.shut()
    with pytest.raises(ShuttingDown):
        lanes.enter(Moody(), "queue")


def test_a_waiting_turn_that_is_stopped_leaves(lanes, work):
    _, waiting, behind = entered(lanes, Moody(), Moody(), Moody())
    waiting.stop(STOPPED)
    assert waiting.error is STOPPED
    assert lanes.of(P)[1:] == [behind]
    assert work.left_ones == [waiting]


def test_a_turn_that_is_not_accepted_is_not_in_the_way(lanes, work):
    def refuse(_turn):
        raise StoreUnavailable("away")

    for waiting in (False, True):
        if waiting:
            entered(lanes, Moody())
        with pytest.raises(StoreUnavailable):
            lanes.enter(Moody(), "queue", refuse)
        assert len(lanes.all()) == waiting
    work.go.set()


@pytest.mark.parametrize("fault", [RuntimeError("x"), StoreUnavailable("x"), GeneratorExit()])
@pytest.mark.parametrize("also_left", [False, True])
def test_fault_t1_a_take_that_raises_ends_its_turn_and_the_next_is_taken(
    fault, also_left, lanes, work
):
    work.breaking["take"] = fault
    if also_left:
        work.breaking["left"] = RuntimeError("x")
    broken, following = entered(lanes, Moody(), Moody())
    work.go.set()
    assert ended(broken).error.code == "internal"
    assert ended(following).error is None


def test_a_left_that_raises_ends_its_turn(lanes, work):
    work.breaking["left"] = RuntimeError("x")
    _, waiting = entered(lanes, Moody(), Moody())
    waiting.stop(STOPPED)
    assert ended(waiting).error is STOPPED


@pytest.mark.parametrize("method", ["begin", "report_queue_position", "on_stop"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_fault_t1_a_turn_that_breaks_holds_up_nobody(method, place, lanes, work):
    turns = [Moody() for _ in range(4)]
    turns[place].broken = {method}
    accepted = []
    for turn in turns:
        try:
            lanes.enter(turn, "queue")
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
    assert ended(entered(lanes, Moody())[0]).error is None


class NoThreads:
    """Threads that cannot be started, but for the first `count`."""

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


def test_fault_t1_a_turn_without_a_thread_ends_and_so_do_those_behind_it(lanes, work):
    lanes._threads = NoThreads(lanes._threads)
    behind = deque()

    def accept(_turn):
        behind.append(Moody())
        if len(behind) < 3:
            lanes.enter(behind[-1], "queue", accept)

    turn = Moody()
    lanes.enter(turn, "queue", accept)
    assert ended(turn).error.code == "at_capacity"
    assert turn.error.retry_after == 5
    assert all(ended(each).error.code == "at_capacity" for each in [*behind][:2])
    assert not lanes.all()
    assert not work.taken


def test_a_turn_that_was_stopped_before_it_began_is_taken_all_the_same(lanes, work):
    turn = Moody()
    lanes.enter(turn, "queue", lambda each: each.stop(STOPPED))
    wait_for(lambda: work.taken == [turn], PATIENCE_S, "the turn's being taken")
    assert turn.state is State.RUNNING
