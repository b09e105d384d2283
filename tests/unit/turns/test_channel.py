"""Commands arrive once, have their reply or their error, and are not done where nobody says so."""

from __future__ import annotations

import threading

import pytest

from cowork.errors import (
    Internal,
    QueueFull,
    StoreUnavailable,
    TurnNotFound,
    WorkerUnreachable,
)
from cowork.model import PublishedEvents
from cowork.turns.remote import channel as channels
from cowork.turns.remote.channel import Channel
from tests.serving import wait_for
from tests.unit.turns.other_workers import Hub


@pytest.fixture
def hub():
    return Hub()


@pytest.fixture
def join(hub):
    begun = []

    def start(holder, handlers=None, dead=()):
        channel = Channel(hub.join(holder), holder, is_dead=lambda worker: worker in dead)
        channel.start(handlers or {})
        begun.append(channel)
        return channel

    yield start
    hub.away = False
    for channel in begun:
        channel.close()


@pytest.fixture
def _short(monkeypatch):
    monkeypatch.setattr(channels, "COMMAND_TTL_S", 0.1)


def test_a_command_has_its_reply(join):
    us = join("us")
    join("them", {"add": lambda body: {"sum": body["a"] + body["b"]}})
    assert us.call("them", "add", {"a": 1, "b": 2}, timeout=5) == {"sum": 3}


def test_many_at_once_have_each_their_own(join, background):
    us = join("us")
    join("them", {"echo": lambda body: body})
    calls = [background(us.call, "them", "echo", {"n": n}, timeout=5) for n in range(50)]
    assert [call.result()["n"] for call in calls] == list(range(50))


@pytest.mark.parametrize("error", [QueueFull("full", retry_after=5), TurnNotFound("no", a=1)])
def test_an_error_is_raised_at_the_sender(join, error):
    def fail(_body):
        raise error

    us = join("us")
    join("them", {"fail": fail})
    with pytest.raises(type(error)) as raised:
        us.call("them", "fail", {}, timeout=5)
    assert (raised.value.message, raised.value.facts) == (error.message, error.facts)
    assert raised.value.retry_after == error.retry_after


def test_what_breaks_there_is_internal_here(join):
    us = join("us")
    join("them", {"break": lambda body: body["nothing"]})
    with pytest.raises(Internal):
        us.call("them", "break", {}, timeout=5)


@pytest.mark.usefixtures("_short")
def test_a_command_may_take_longer_than_its_sender_waits_for_a_sign(join):
    go_on = threading.Event()
    us = join("us")
    join("them", {"wait": lambda _body: {"waited": go_on.wait(5)}})
    threading.Timer(0.4, go_on.set).start()
    assert us.call("them", "wait", {}, timeout=5) == {"waited": True}


@pytest.mark.usefixtures("_short")
def test_one_that_is_not_done_in_its_time_is_unreachable(join):
    go_on = threading.Event()
    us = join("us")
    join("them", {"wait": lambda _body: {"waited": go_on.wait(5)}})
    with pytest.raises(WorkerUnreachable):
        us.call("them", "wait", {}, timeout=0.3)
    go_on.set()


@pytest.mark.usefixtures("_short")
def test_a_worker_that_dies_meanwhile_is_not_waited_for(join):
    go_on, dead = threading.Event(), set()
    us = join("us", dead=dead)
    join("them", {"wait": lambda _body: {"waited": go_on.wait(5)}})
    threading.Timer(0.3, dead.add, ("them",)).start()
    with pytest.raises(WorkerUnreachable):
        us.call("them", "wait", {}, timeout=60)
    go_on.set()


@pytest.mark.usefixtures("_short")
def test_nobody_and_nobody_listening_are_unreachable_and_nothing_is_left(join, hub):
    us = join("us")
    hub.join("deaf")
    for worker in ("nobody", "deaf"):
        with pytest.raises(WorkerUnreachable):
            us.call(worker, "add", {}, timeout=5)
    assert hub.inboxes["deaf"] == []


@pytest.mark.usefixtures("_short")
def test_a_question_that_nobody_takes_is_taken_back(join, hub):
    us = join("us")
    hub.join("deaf")
    with pytest.raises(WorkerUnreachable):
        us.ask("deaf", {}, "turn-1")
    assert hub.withdrawn == {"turn-1"}
    assert hub.inboxes["deaf"] == []


@pytest.mark.usefixtures("_short")
def test_one_that_was_accepted_without_a_word_is_said_to_be(join, hub):
    us = join("us")
    hub.join("deaf")
    hub.accepted.add("turn-1")
    assert us.ask("deaf", {}, "turn-1") is None


def test_a_store_that_goes_away_is_said_and_comes_back(join, hub):
    us = join("us")
    join("them", {"echo": lambda body: body})
    hub.away = True
    with pytest.raises(StoreUnavailable):
        us.call("them", "echo", {}, timeout=5)
    hub.away = False
    assert us.call("them", "echo", {"n": 1}, timeout=5) == {"n": 1}


def test_what_nobody_knows_of_is_no_end(join):
    us = join("us")
    join("them", {"echo": lambda body: body})
    assert us.tell("them", "a later version's", {})
    assert us.call("them", "echo", {"n": 1}, timeout=5) == {"n": 1}


def test_what_is_followed_is_heard_from_its_place_until_it_is_not(join, hub):
    us = join("us")
    them = hub.join("them")
    seen = []
    them.publish("t", PublishedEvents("", 1, b"\0", b"1"))
    first = them.published("t")[0].id
    us.follow("t", first, seen.extend)
    them.publish("t", PublishedEvents("", 2, b"\0", b"2"))
    wait_for(lambda: [each.first for each in seen] == [2])
    us.unfollow("t")
    wait_for(lambda: "t" not in us._followed)
    them.publish("t", PublishedEvents("", 3, b"\0", b"3"))
    us.tell("us", "wake", {})
    wait_for(lambda: hub.inboxes["us"] == [])
    assert [each.first for each in seen] == [2]


def test_a_listener_that_breaks_hurts_nobody(join, hub):
    def listen(_published):
        raise RuntimeError("broken")

    us = join("us", {"echo": lambda body: body})
    us.follow("t", "0", listen)
    hub.join("them").publish("t", PublishedEvents("", 1, b"\0", b"1"))
    assert us.call("us", "echo", {"n": 1}, timeout=5) == {"n": 1}
    wait_for(lambda: "t" not in us._followed)
