"""Whoever waits for a change gets it, at its time, and no wait is lost."""

from __future__ import annotations

import threading
import time

import pytest

from cowork.runtime.condition import PredicateCondition
from tests.patience import PATIENCE_S
from tests.serving import wait_for


def soon():
    return time.monotonic() + PATIENCE_S


class Waiter:
    """Waits in a thread until `true()`; `found` is what the wait gave."""

    def __init__(self, condition, true, until=None):
        self.found = None
        self._thread = threading.Thread(target=self._run, args=(condition, true, until or soon()))
        self._thread.start()

    def _run(self, condition, true, until):
        with condition:
            self.found = condition.wait_for(true, until)

    def end(self):
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self.found


def test_what_is_true_already_is_not_waited_for():
    condition = PredicateCondition()
    with condition:
        assert condition.wait_for(lambda: True, 0.0) is True


def test_a_wait_ends_at_its_time():
    condition = PredicateCondition()
    begun = time.monotonic()
    with condition:
        assert condition.wait_for(lambda: False, begun + 0.05) is False
    assert time.monotonic() - begun >= 0.05


def test_a_change_ends_every_wait_for_it_and_no_other():
    condition, state = PredicateCondition(), set()
    first = [Waiter(condition, lambda: "a" in state) for _ in range(5)]
    other = Waiter(condition, lambda: "b" in state)
    wait_for(lambda: len(condition._waiting) == 6, what="six waiters")
    with condition:
        state.add("a")
        condition.notify()
    assert [waiter.end() for waiter in first] == [True] * 5
    assert other.found is None
    with condition:
        state.add("b")
        condition.notify()
    assert other.end() is True


def test_a_change_that_comes_while_the_waiter_looks_is_not_lost():
    condition, state = PredicateCondition(), set()

    def change():
        with condition:
            state.add("a")
            condition.notify()

    writer = threading.Thread(target=change)

    def looked_at():
        if "a" in state:
            return True
        if not writer.ident:
            writer.start()
            time.sleep(0.02)  # it stands at the lock by now
        return False

    assert Waiter(condition, looked_at).end() is True
    writer.join()


def test_nobody_is_woken_for_what_does_not_concern_them():
    condition, state, looked = PredicateCondition(), set(), []

    def look():
        looked.append(threading.get_ident())
        return "a" in state

    waiter = Waiter(condition, look)
    wait_for(lambda: len(condition._waiting) == 1, what="the waiter")
    for number in range(100):
        with condition:
            state.add(number)
            condition.notify()
    assert looked.count(threading.get_ident()) == 100
    assert len(looked) == 101
    with condition:
        state.add("a")
        condition.notify()
        condition.notify()  # it is on its way: nobody looks for it any more
    assert waiter.end() is True
    assert looked.count(threading.get_ident()) == 101


def test_a_wait_that_ended_leaves_no_change_to_the_next_one():
    condition = PredicateCondition()
    for _ in range(3):
        with condition:
            # Told while nobody sleeps any more: the next wait must not take it for its own.
            assert (
                condition.wait_for(lambda: condition.notify() or False, time.monotonic()) is False
            )
    begun = time.monotonic()
    looks = []
    with condition:
        condition.wait_for(lambda: looks.append(1), begun + 0.1)
    assert time.monotonic() - begun >= 0.1
    assert len(looks) <= 4


def test_nothing_is_lost_between_many_writers_and_readers():
    condition, count = PredicateCondition(), [0]
    seen = []

    def read():
        mine = 0
        while mine < 400:
            with condition:
                assert condition.wait_for(lambda mine=mine: count[0] > mine, soon())
                mine = count[0]
        seen.append(mine)

    def write():
        for _ in range(100):
            with condition:
                count[0] += 1
                condition.notify()
            time.sleep(0)

    threads = [threading.Thread(target=call) for call in (read,) * 6 + (write,) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert seen == [400] * 6
    assert condition._waiting == []


def test_a_predicate_that_raises_lets_the_others_go_on():
    condition = PredicateCondition()
    with pytest.raises(ZeroDivisionError), condition:
        condition.wait_for(lambda: 1 / 0, soon())
    with condition:
        assert condition.wait_for(lambda: True, 0.0)


def test_a_wake_at_the_time_limit_wakes_nobody_who_waits_for_something_else_by_then():
    """Each wait is told and out of time at once, and then waits for another thing at once."""
    first, second, state = PredicateCondition(), PredicateCondition(), set()
    kept: list[bool] = []

    def wait():
        for _ in range(200):
            with first:
                first.wait_for(lambda: False, time.monotonic() + 0.001)
            begun = time.monotonic()
            time.sleep(0.001)
            kept.append(time.monotonic() - begun >= 0.001)
        state.add("over")

    def tell():
        while "over" not in state:
            with first:
                for waiter, _predicate in first._waiting:
                    waiter.wake()
            time.sleep(0.0005)

    threads = [threading.Thread(target=each) for each in (wait, tell)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    with second:
        assert second.wait_for(lambda: bool(state), soon())
    assert all(kept)
