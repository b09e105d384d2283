"""A turn's log is published while it runs: soon where somebody reads it, else now and then."""

from __future__ import annotations

import time

import pytest

from cowork.events import Done, Status, Token, TokenBatch
from cowork.model import Project
from cowork.turns.question import Question
from cowork.turns.records import _log_of
from cowork.turns.remote import publisher as publishers
from cowork.turns.remote.publisher import LogPublisher
from cowork.turns.remote_turn import RemoteTurn
from cowork.turns.turn import Turn
from tests.serving import wait_for
from tests.unit.turns.other_workers import Hub

P = Project("", "p")


@pytest.fixture
def hub():
    return Hub()


@pytest.fixture
def ended():
    return []


@pytest.fixture
def publisher(hub, ended):
    publisher = LogPublisher(
        hub.join("us"), lambda worker, turn_id: ended.append((worker, turn_id))
    )
    publisher.start()
    yield publisher
    hub.away = False
    publisher.close()


@pytest.fixture
def turn(publisher):
    turn = Turn(P, Question("why?"))
    publisher.add(turn)
    yield turn
    turn.finish(Done(success=True, message=""))


def published(hub, turn):
    return _log_of(hub.events[turn.id])


def copy_of(hub, turn):
    copy = RemoteTurn(P, Question("why?"), holder="us")
    for events in hub.events[turn.id]:
        assert copy.extend(events)
    return copy


def test_what_nobody_reads_elsewhere_is_published_now_and_then(hub, turn):
    time.sleep(0.05)  # it looks once when the first turn comes
    begun = time.monotonic()
    turn.append([Token("a"), Status("queued", {}), TokenBatch([b'"b"', b'"c"'])])
    wait_for(lambda: len(published(hub, turn)) == 4)
    assert time.monotonic() - begun >= publishers.INTERVAL_S / 2
    assert len(hub.events[turn.id]) == 1
    assert copy_of(hub, turn).text == "abc"
    assert copy_of(hub, turn).read(0, 0)[:] == turn.read(0, 0)[:]


def test_a_watched_turn_has_a_stream_at_once_and_its_tokens_soon(hub, publisher, turn):
    assert publisher.watch(turn.id, "them", 0)
    wait_for(lambda: hub.events[turn.id])  # an empty one, behind which its end can stand
    for number in range(20):
        turn.append([Token(f"{number} ")])
        time.sleep(0.01)
    wait_for(lambda: len(published(hub, turn)) == 20)
    assert 2 <= len(hub.events[turn.id]) <= 20
    assert copy_of(hub, turn).text == turn.text


def test_who_reads_elsewhere_is_a_reader_here(publisher):
    turn = Turn(P, Question("why?"), grace=0.0)
    publisher.add(turn)
    publisher.watch(turn.id, "them", 0)
    publisher.watch(turn.id, "them", 0)
    publisher.watch(turn.id, "others", 0)
    publisher.unwatch(turn.id, "them")
    publisher.unwatch(turn.id, "them")
    time.sleep(0.05)
    assert turn.stop_reason is None
    publisher.unwatch(turn.id, "others")
    wait_for(lambda: turn.stop_reason is not None)
    turn.fail(turn.stop_reason)


def test_one_that_says_nothing_more_reads_no_more(publisher, monkeypatch):
    monkeypatch.setattr(publishers, "WATCH_TTL_S", 0.1)
    turn = Turn(P, Question("why?"), grace=0.0)
    publisher.add(turn)
    publisher.watch(turn.id, "them", 0)
    wait_for(lambda: turn.stop_reason is not None)
    turn.fail(turn.stop_reason)


def test_its_readers_are_told_of_the_end(publisher, turn, ended):
    publisher.watch(turn.id, "them", 0)
    turn.finish(Done(success=True, message="a"))
    wait_for(lambda: ended == [("them", turn.id)])
    assert not publisher.watch(turn.id, "them", 0)


def test_nothing_of_its_end_is_published(hub, publisher, turn):
    publisher.watch(turn.id, "them", 0)
    turn.append([Token("a")])
    wait_for(lambda: len(published(hub, turn)) == 1)
    turn.finish(Done(success=True, message="a"))
    time.sleep(0.1)
    assert len(published(hub, turn)) == 1


def test_what_the_store_did_not_take_comes_later_and_what_it_lost_again(hub, publisher, turn):
    publisher.watch(turn.id, "them", 0)
    turn.append([Token("a")])
    wait_for(lambda: len(published(hub, turn)) == 1)
    hub.away = True
    turn.append([Token("b")])
    time.sleep(0.1)
    hub.events.clear()
    hub.away = False
    wait_for(lambda: hub.events[turn.id])
    copy = RemoteTurn(P, Question("why?"), holder="us")
    assert not copy.extend(hub.events[turn.id][-1])  # there is a gap
    publisher.watch(turn.id, "them", 0)
    wait_for(lambda: any(each.first == 1 for each in hub.events[turn.id]))
    for events in hub.events[turn.id]:
        copy.extend(events)
    assert copy.text == "ab"


def test_a_long_turn_is_published_up_to_a_limit(hub, publisher, turn, monkeypatch):
    monkeypatch.setattr(publishers, "LOG_SIZE", 1000)
    publisher.watch(turn.id, "them", 0)
    for _ in range(40):
        turn.append([Token("x" * 500)])
        time.sleep(0.01)
    time.sleep(0.3)
    assert 1 < len(published(hub, turn)) < 40


def test_a_copy_takes_nothing_twice(hub, publisher, turn):
    turn.append([Token("a"), Token("b"), Token("c")])
    publisher.watch(turn.id, "them", 0)
    wait_for(lambda: len(published(hub, turn)) == 3)
    publisher.watch(turn.id, "others", 1)
    turn.append([Token("d")])
    wait_for(lambda: sum(len(each.codes) for each in hub.events[turn.id]) >= 6)
    assert copy_of(hub, turn).text == "abcd"
