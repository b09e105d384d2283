"""Which worker a project is given to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cowork.model import Project, WorkerInfo
from cowork.turns.remote.assignments import Assignments
from tests.unit.turns.other_workers import Hub

P = Project("", "p")
INFO = WorkerInfo("us", "host", 1, "boot", datetime.now(UTC), free=4)


@pytest.fixture
def hub():
    hub = Hub()
    hub.workers = [INFO, replace(INFO, holder="a"), replace(INFO, holder="b")]
    return hub


@pytest.fixture
def assignments(hub):
    def make(free=4, dead=()):
        def release(worker):
            if worker in dead:
                hub.gone.add(worker)
            return worker in dead

        return Assignments(hub.join("us"), "us", free=lambda: free, release_if_dead=release)

    return make


def test_we_take_what_comes_to_us_while_we_have_room(assignments):
    assert assignments().assign(P) is None


def test_another_has_what_it_had(assignments, hub):
    hub.assigned[P] = "a"
    assert assignments().assign(P) == "a"


def test_one_that_is_dead_has_nothing(assignments, hub):
    hub.assigned[P] = "a"
    assert assignments(dead={"a"}).assign(P) is None
    assert hub.assigned[P] == "us"


def test_without_room_another_gets_it_the_same_one_for_all(assignments):
    chosen = {assignments(free=0)._candidate(Project("", f"p{n}")) for n in range(40)}
    assert chosen == {"a", "b"}
    assert assignments(free=0).assign(P) == assignments(free=0)._candidate(P)


def test_who_has_more_room_gets_more(assignments, hub):
    hub.workers = [replace(INFO, holder="a", free=1), replace(INFO, holder="b", free=9)]
    chosen = [assignments(free=0)._candidate(Project("", f"p{n}")) for n in range(400)]
    assert 10 <= chosen.count("a") <= 90


def test_without_room_anywhere_it_waits_here(assignments, hub):
    hub.workers = [replace(each, free=0) for each in hub.workers]
    assert assignments(free=0).assign(P) is None


def test_when_we_shut_down_others_get_what_comes_here(assignments, hub):
    closing = assignments()
    closing.close()
    assert closing.assign(P) in {"a", "b"}
    hub.workers = [replace(each, free=0) for each in hub.workers]
    assert closing.assign(Project("", "q")) in {"a", "b"}
    hub.workers = []
    assert assignments().assign(Project("", "r")) is None


def test_dead_workers_are_not_found(assignments, hub):
    hub.assigned[P] = "a"
    assert assignments().find(P) == ["a"]
    assert assignments(dead={"a"}).find(P) == []
