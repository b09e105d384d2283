"""Calls run at once, threads are used again, and none is left when they are not wanted."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from contextvars import ContextVar
from functools import partial

import pytest

from cowork.runtime import thread_pool
from cowork.runtime.thread_pool import CachedThreadPool
from tests.patience import PATIENCE_S
from tests.serving import wait_for

NAME = "kept"
word: ContextVar[str] = ContextVar("word", default="none")


@pytest.fixture
def kept():
    made = CachedThreadPool(NAME)
    yield made
    made.close()
    wait_for(lambda: not alive(), what="the end of all threads")


def alive():
    return [each for each in threading.enumerate() if each.name == NAME]


def run(kept, call):
    """Run it and wait for it."""
    done = threading.Event()

    def and_tell():
        try:
            call()
        finally:
            done.set()

    kept.run(and_tell)
    assert done.wait(PATIENCE_S)


def settled(kept, count):
    wait_for(lambda: kept._idle == count, what=f"{count} idle threads")


def test_a_call_runs_in_another_thread(kept):
    seen = []
    run(kept, lambda: seen.append(threading.current_thread()))
    assert seen != [threading.current_thread()]


def test_one_call_after_the_other_takes_one_thread(kept):
    for _ in range(20):
        run(kept, lambda: None)
        settled(kept, 1)
    assert len(alive()) == 1


def test_calls_at_once_do_not_wait_for_each_other(kept):
    for _ in range(3):  # with new threads, then with kept ones
        together = threading.Barrier(5 + 1)
        for _ in range(5):
            kept.run(partial(together.wait, PATIENCE_S))
        together.wait(PATIENCE_S)
        settled(kept, 5)
    assert len(alive()) == 5


def test_each_call_has_a_context_of_its_own(kept):
    seen = []

    def call():
        seen.append(word.get())
        word.set("changed")

    word.set("mine")
    for _ in range(2):
        run(kept, call)
        settled(kept, 1)
    assert seen == ["none", "none"]
    assert word.get() == "mine"


def test_what_a_call_held_is_let_go_of_while_its_thread_waits(kept):
    class Thing:
        pass

    for _ in range(2):  # the call that the thread began with, and a later one
        thing = Thing()
        gone = weakref.ref(thing)
        kept.run(partial(lambda _: None, thing))
        del thing
        settled(kept, 1)
        gc.collect()
        assert gone() is None


def test_a_thread_that_idles_too_long_ends(kept, monkeypatch):
    monkeypatch.setattr(thread_pool, "IDLE_TIMEOUT_S", 0.05)
    run(kept, lambda: None)
    wait_for(lambda: not alive(), what="the thread's end")
    assert kept._idle == 0
    run(kept, lambda: None)


def test_no_call_is_lost_to_threads_that_give_up(kept, monkeypatch):
    monkeypatch.setattr(thread_pool, "IDLE_TIMEOUT_S", 0.001)
    count, done = 300, threading.Semaphore(0)
    for _ in range(count):
        kept.run(done.release)
        time.sleep(0.001)
    for _ in range(count):
        assert done.acquire(timeout=PATIENCE_S)


def test_a_call_that_fails_takes_its_thread_with_it_and_nothing_else(kept, monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", lambda fault: told.append(fault.exc_type))
    kept.run(lambda: 1 // 0)
    wait_for(lambda: told, what="the fault")
    run(kept, lambda: None)
    assert told == [ZeroDivisionError]


def test_closing_ends_idle_threads_at_once_and_busy_ones_with_their_call():
    kept, go = CachedThreadPool(NAME), threading.Event()
    run(kept, lambda: None)
    settled(kept, 1)
    kept.run(lambda: None)
    settled(kept, 1)
    busy = [threading.Event(), threading.Event()]
    for begun in busy:
        kept.run(lambda begun=begun: (begun.set(), go.wait(PATIENCE_S)))
        assert begun.wait(PATIENCE_S)
    kept.close()
    assert len(alive()) == 2
    go.set()
    wait_for(lambda: not alive(), what="the end of all threads")


def test_what_is_run_after_closing_runs_all_the_same():
    kept = CachedThreadPool(NAME)
    kept.close()
    run(kept, lambda: None)
    wait_for(lambda: not alive(), what="the end of all threads")
