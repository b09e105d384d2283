"""Processes are measured when they have served a turn, one after the other, and not while busy."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from cowork.claude.pool import memory, reaper
from cowork.claude.pool.reaper import IdleReaper
from cowork.claude.pool.slot import LeaseRequest, SlotState
from cowork.claude.pool.slots import Slots
from cowork.model import Project
from tests.serving import wait_for

BYTES = 7


@pytest.fixture
def measured(monkeypatch):
    """The pids that were measured, in order."""
    found = []

    def tree_pss(pid):
        found.append(pid)
        return BYTES

    monkeypatch.setattr(memory, "tree_pss", tree_pss)
    return found


@pytest.fixture
def slots():
    return Slots(100)


def put(slots, pid, state=SlotState.IDLE):
    """A slot whose process has served a turn."""
    now = time.monotonic()
    slot = slots.add(LeaseRequest(Project("", f"p{pid}"), "/"))
    slot.process = SimpleNamespace(pid=pid, turns=1, started=now, last_used=now, alive=True)
    slot.state = state
    return slot


def tend(slots, **settings):
    made = IdleReaper(slots, **{"idle_timeout": 900.0, "memory_limit": 100, **settings})
    made._reap_once()
    return made


def test_a_process_is_measured_after_each_turn_once(slots, measured):
    slot = put(slots, 1)
    for turns in (1, 1, 2, 2):
        slot.process.turns = turns
        tend(slots)
    assert measured == [1, 1]
    assert slot.memory == BYTES


def test_nothing_is_measured_where_there_is_no_limit(slots, measured):
    put(slots, 1)
    tend(slots, memory_limit=0)
    assert measured == []


def test_a_process_that_answers_is_left_alone_until_it_is_idle(slots, measured):
    slot = put(slots, 1, SlotState.BUSY)
    tend(slots)
    assert measured == []
    slot.state = SlotState.IDLE
    tend(slots)
    assert measured == [1]


def test_a_process_that_never_idles_is_measured_now_and_then(slots, measured, monkeypatch):
    slot = put(slots, 1, SlotState.BUSY)
    monkeypatch.setattr(reaper, "BUSY_MEASURE_INTERVAL_S", 0.05)
    wait_for(lambda: tend(slots) and measured, what="the first measuring")
    assert measured == [1]
    slot.process.turns = 2
    tend(slots)
    assert measured == [1]
    wait_for(lambda: tend(slots) and len(measured) == 2, what="the second measuring")


def test_one_that_has_grown_too_large_goes_when_it_is_idle(slots, measured, monkeypatch):
    ended = []
    slot = put(slots, 1, SlotState.BUSY)
    slot.process.end = lambda: ended.append(1)
    monkeypatch.setattr(reaper, "BUSY_MEASURE_INTERVAL_S", 0.0)
    tend(slots, memory_limit=BYTES - 1)
    assert (slot.discard_on_return, ended) == (True, [])
    slot.state = SlotState.IDLE
    tend(slots, memory_limit=BYTES - 1)
    assert (ended, len(slots), measured) == ([1], 0, [1])


def test_many_are_measured_with_pauses_which_an_end_cuts_short(slots, measured, monkeypatch):
    monkeypatch.setattr(reaper, "MEASURE_PAUSE_S", 60.0)
    for pid in range(1, 4):
        put(slots, pid)
    made = IdleReaper(slots, idle_timeout=900.0, memory_limit=100, interval=600.0)
    made.thread.stop()
    begun = time.monotonic()
    made._reap_once()
    assert measured == [1]
    assert time.monotonic() - begun < 30
