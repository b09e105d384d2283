"""A periodic thread calls its task, lives on whatever the task raises, and ends when told to."""

from __future__ import annotations

import threading
import time

import pytest
import structlog.testing

from cowork.runtime.periodic import PeriodicThread
from tests.patience import PATIENCE_S
from tests.serving import wait_for

NAME = "test-periodic"


@pytest.fixture
def begin():
    made = []

    def start(task, **more):
        made.append(PeriodicThread(NAME, task, **more))
        made[-1].start()
        return made[-1]

    yield start
    for each in made:
        each.stop()
        each.join(PATIENCE_S)
    assert not alive()


def alive():
    return [each for each in threading.enumerate() if each.name == NAME]


def test_the_task_is_called_again_after_as_long_as_it_says(begin):
    calls = []

    def task():
        calls.append(time.monotonic())
        return 0.05

    begin(task)
    wait_for(lambda: len(calls) >= 3, what="three calls")
    assert calls[2] - calls[0] >= 0.1


def test_the_first_call_waits_and_a_wake_cuts_that_short(begin):
    called = threading.Event()

    def task():
        called.set()
        return 60.0

    thread = begin(task, first_s=60.0)
    assert not called.wait(0.1)
    thread.wake()
    assert called.wait(PATIENCE_S)


def test_an_event_of_others_wakes_it(begin):
    calls, woken = [], threading.Event()

    def task():
        calls.append(1)
        return 60.0

    begin(task, woken=woken)
    wait_for(lambda: len(calls) == 1, what="the first call")
    woken.set()
    wait_for(lambda: len(calls) == 2, what="the second call")
    assert not woken.is_set()


def test_a_wake_during_a_call_is_not_lost(begin):
    calls, entered, go = [], threading.Event(), threading.Event()

    def task():
        calls.append(1)
        entered.set()
        go.wait(PATIENCE_S)
        return 60.0

    thread = begin(task)
    assert entered.wait(PATIENCE_S)
    thread.wake()
    go.set()
    wait_for(lambda: len(calls) == 2, what="the second call")


def test_a_task_that_raises_is_logged_once_a_streak_and_called_again(begin):
    calls = []

    def task():
        calls.append(1)
        if len(calls) != 4:
            raise ValueError("again")
        return 0.001

    with structlog.testing.capture_logs() as logs:
        begin(task, retry_s=0.001)
        wait_for(lambda: len(calls) >= 7, what="seven calls")
    events = [(line["event"], line["thread"]) for line in logs]
    assert events == [("background thread failed, retrying", NAME)] * 2


def test_it_starts_once_and_never_after_its_end(begin):
    thread = begin(lambda: 60.0)
    thread.start()
    assert len(alive()) == 1
    thread.stop()
    thread.join(PATIENCE_S)
    assert thread.stopped
    thread.start()
    assert not alive()


def test_a_stop_cuts_a_pause_of_the_task_short():
    paused = threading.Event()

    def task():
        paused.set()
        assert thread.pause(60.0)
        return 0.0

    thread = PeriodicThread(NAME, task)
    thread.start()
    assert paused.wait(PATIENCE_S)
    begun = time.monotonic()
    thread.stop()
    thread.join(PATIENCE_S)
    assert time.monotonic() - begun < 30
    assert not alive()


def test_a_thread_that_could_not_be_started_is_tried_again(monkeypatch):
    def fail(_thread):
        raise RuntimeError("can't start new thread")

    called = threading.Event()

    def task():
        called.set()
        return 60.0

    thread = PeriodicThread(NAME, task)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError):
            thread.start()
    thread.start()
    assert called.wait(PATIENCE_S)
    thread.stop()
    thread.join(PATIENCE_S)


def test_one_that_never_began_can_be_stopped():
    thread = PeriodicThread(NAME, lambda: 0.0)
    thread.stop()
    thread.join(PATIENCE_S)
    thread.start()
    assert not alive()
