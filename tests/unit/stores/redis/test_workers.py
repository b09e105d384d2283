"""What workers on one Redis know of each other and tell each other."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from redis import Redis

from cowork.errors import WorkerUnreachable
from cowork.model import Message, Project, PublishedEvents, TranscriptState, WorkerInfo
from cowork.stores.encryption import Encryption
from cowork.stores.redis.connection import connect
from cowork.stores.redis.store import RedisStore
from tests.unit.stores.durable_suite import KEEP, ended, record
from tests.unit.stores.store_suite import session

P = Project("ann", "p")
SOON = 0.2
ASK = Message("", "ask", b'{"a": 1}', "us", "7", "")


@pytest.fixture
def redis(redis_server):
    with Redis(port=redis_server.port) as client:
        yield client


@pytest.fixture
def join(redis_server, tmp_path):
    """A worker of that name, which has sent its heartbeat and takes questions."""
    opened = []

    def open_store(holder, *, takes=True, **told):
        encryption = Encryption(tmp_path / "store.key")
        store = RedisStore(
            connect(redis_server.url), encryption, holder=holder, reading=connect(redis_server.url)
        )
        opened.append(store)
        store.heartbeat()
        if takes:
            store.others.register(WorkerInfo(holder, "host", 1, "boot", datetime.now(UTC), **told))
        return store

    yield open_store
    for store in opened:
        store.close()


def named(session_id):
    return replace(session(P), id=session_id)


def machine(holder):
    return holder.partition("/")[0]


def silence(redis, holder):
    """Its last heartbeat is long ago."""
    redis.hset("cowork:holders", holder, 1)


def given(store):
    """What is in its inbox."""
    messages, _ = store.others.receive("0", {}, SOON)
    return messages


# -- whose a project is


def test_a_project_stays_with_its_worker(join):
    us, them = join("us"), join("them")
    assert us.others.assign(P, "us") == "us"
    assert them.others.assign(P, "them") == "us"
    assert them.others.assign(Project("bob", "p"), "them") == "them"


def test_it_is_another_when_that_is_silent_or_takes_no_questions(join, redis):
    us, them = join("us"), join("them")
    us.others.assign(P, "us")
    silence(redis, "us")
    assert them.others.assign(P, "them") == "them"
    them.others.deregister()
    us.heartbeat()
    assert us.others.assign(P, "us") == "us"


def test_one_that_a_worker_answers_stays_there_whoever_is_the_candidate(join, redis):
    us, them = join("us"), join("them")
    us.claim(P)
    assert them.others.assign(P, "them") == "us"
    redis.delete("cowork:assigned:ann\0p")
    us.others.deregister()
    assert them.others.assign(P, "them") == "them"
    assert them.others.find_workers(P) == ["us", "them"]  # who answers it is the first


def test_it_stays_on_its_machine_where_that_has_room(join):
    us = join("boot-1/us", free=4)
    join("boot-1/sister", free=2)
    full = join("boot-1/full", free=0)
    them = join("boot-2/them", free=9)
    us.others.assign(P, "boot-1/us")
    us.others.deregister()
    assert them.others.assign(P, "boot-2/them") == "boot-1/sister"
    join("boot-1/sister").others.deregister()
    assert full.others.assign(P, "boot-1/full") == "boot-1/full"
    full.others.deregister()
    assert them.others.assign(P, "boot-2/them") == "boot-2/them"


def test_one_that_was_idle_for_long_goes_where_it_is_asked_on_its_machine(join, redis):
    us, sister = join("boot-1/us", free=4), join("boot-1/sister", free=4)
    them = join("boot-2/them", free=4)
    us.others.assign(P, "boot-1/us")
    redis.set("cowork:assigned:ann\0p", "boot-1/us 1")
    assert sister.others.assign(P, "boot-1/sister") == "boot-1/sister"
    redis.set("cowork:assigned:ann\0p", "boot-1/us 1")
    assert machine(them.others.assign(P, "boot-2/them")) == "boot-1"
    assert 0 < redis.pttl("cowork:assigned:ann\0p") <= 30 * 24 * 3600 * 1000


def test_nobody_has_a_project_that_was_never_asked(join):
    assert join("us").others.find_workers(P) == []


def test_workers_tell_of_themselves(join):
    us = join("us", projects=2, processes=3, free=4, idle_s=5.0, lag_ms=6.0)
    join("silent", takes=False)
    (told,) = us.others.workers()
    assert (told.holder, told.projects, told.processes, told.free) == ("us", 2, 3, 4)
    assert (told.idle_s, told.lag_ms) == (5.0, 6.0)
    assert 0 <= told.silent_s < 5


def test_a_dead_worker_leaves_nothing(join, redis):
    us, them = join("us"), join("them")
    us.others.send("them", ASK)
    them.others.assign(P, "them")
    us.release_dead_holder("them")
    assert [each.holder for each in us.others.workers()] == ["us"]
    assert not redis.exists("cowork:inbox:them")
    assert us.others.send("them", ASK) is None
    assert us.others.assign(P, "us") == "us"


# -- messages


def test_a_message_arrives_once_and_in_order(join):
    us, them = join("us"), join("them")
    for number in range(3):
        us.others.send("them", replace(ASK, number=str(number)))
    found = given(them)
    assert [each.number for each in found] == ["0", "1", "2"]
    assert (found[0].kind, found[0].body, found[0].sender) == ("ask", b'{"a": 1}', "us")
    assert them.others.take(found) == found
    assert them.others.take(found) == []
    assert given(them) == []


def test_what_was_taken_back_is_not_taken_and_the_reverse(join):
    us, them = join("us"), join("them")
    first, second = us.others.send("them", ASK, 5.0), us.others.send("them", ASK, 5.0)
    found = given(them)
    assert us.others.withdraw("them", first, "turn-1") is False
    assert [each.id for each in them.others.take(found)] == [second]


def test_a_message_that_is_too_late_is_not_taken(join):
    us, them = join("us"), join("them")
    us.others.send("them", ASK, 0.05)
    us.others.send("them", ASK)
    found = given(them)
    time.sleep(0.1)
    assert them.others.take(found) == found[1:]


def test_a_turn_that_was_withdrawn_is_not_accepted_and_one_that_was_accepted_not_withdrawn(join):
    us, them = join("us"), join("them")
    entry = us.others.send("them", ASK, 5.0)
    assert us.others.withdraw("them", entry, "turn-1") is False
    with pytest.raises(WorkerUnreachable):
        them.put_turn(record(1), None, None)
    assert them.turn("", "turn-1") is None
    them.put_turn(record(2), None, None)
    assert us.others.withdraw("them", entry, "turn-2") is True


def test_nothing_is_sent_to_nobody(join, redis):
    us = join("us")
    assert us.others.send("never", ASK) is None
    join("them")
    silence(redis, "them")
    assert us.others.send("them", ASK) is None


def test_an_inbox_has_a_bound(join, redis):
    us, _ = join("us"), join("them")
    with redis.pipeline() as many:
        for _ in range(10_000):
            many.xadd("cowork:inbox:them", {"k": "x"})
        many.execute()
    assert us.others.send("them", ASK) is None


# -- what is published


def block(first, count):
    return PublishedEvents("", first, b"\0" * count, b"\n".join([b'"w"'] * count))


def test_events_are_read_from_any_place_and_waited_for(join):
    us, them = join("us"), join("them")
    us.others.publish("t", block(1, 2))
    us.others.publish("t", block(3, 1))
    found = them.others.published("t")
    assert [(each.first, each.codes, each.lines) for each in found] == [
        (1, b"\0\0", b'"w"\n"w"'),
        (3, b"\0", b'"w"'),
    ]
    assert them.others.published("t", found[0].id) == found[1:]
    _, events = them.others.receive("0", {"t": found[0].id, "other": "0"}, SOON)
    assert events == {"t": found[1:]}


def test_the_end_of_a_turn_is_the_last_of_them(join):
    us, them = join("us"), join("them")
    us.put_turn(record(1), None, None)
    us.others.publish("turn-1", block(1, 2))
    us.end_turn(replace(ended(record(1), keep=KEEP), log=b"log"))
    assert [each.is_end for each in them.others.published("turn-1")] == [False, True]


def test_of_a_turn_without_a_log_nothing_is_left_but_that_it_is_over(join):
    us = join("us")
    us.put_turn(record(1), None, None)
    us.others.publish("turn-1", block(1, 2))
    us.end_turn(ended(record(1), keep=KEEP))
    assert [each.is_end for each in us.others.published("turn-1")] == [True]


def test_what_a_lost_turn_had_published_is_kept_with_it(join, redis):
    us, them = join("us"), join("them")
    us.put_turn(record(1, holder="us"), None, None)
    us.others.publish("turn-1", block(1, 2))
    assert them.release_dead_holder("us") == ["turn-1"]
    assert [each.is_end for each in them.others.published("turn-1")] == [False, True]
    assert redis.pttl("cowork:events:turn-1") > 0


def test_all_that_is_published_expires(join, redis):
    us = join("us")
    us.others.publish("t", block(1, 2))
    us.others.send("us", ASK)
    assert redis.pttl("cowork:events:t") > 0
    assert redis.pttl("cowork:inbox:us") > 0


# -- transcripts

NEW = TranscriptState()


def test_a_transcript_grows_and_is_encrypted(join, redis):
    us = join("us")
    claim, mine = us.claim(P), named("s1")
    first, second = TranscriptState(5, "a"), TranscriptState(8, "b")
    assert us.others.put_transcript(mine, claim, NEW, first, b"okapi")
    assert us.others.put_transcript(mine, claim, first, second, b"and")
    assert us.others.transcript_state("s1") == second
    assert us.others.transcript("s1") == b"okapiand"
    assert all(b"okapi" not in each for each in redis.lrange("cowork:transcript:s1", 0, -1))


def test_it_is_replaced_given_up_and_not_written_by_who_is_behind(join):
    us, them = join("us"), join("them")
    claim, mine = us.claim(P), named("s1")
    first, other = TranscriptState(5, "a"), TranscriptState(3, "c")
    us.others.put_transcript(mine, claim, NEW, first, b"okapi")
    assert not us.others.put_transcript(mine, claim, NEW, other, b"new")
    assert us.others.put_transcript(mine, claim, first, other, b"new")
    assert us.others.transcript("s1") == b"new"
    us.release(claim)
    assert not us.others.put_transcript(mine, claim, other, first, b"okapi")
    later = them.claim(P)
    given_up = TranscriptState(TranscriptState.GIVEN_UP)
    assert them.others.put_transcript(mine, later, other, given_up, b"")
    assert them.others.transcript_state("s1") == given_up
    assert them.others.transcript("s1") == b""


def test_those_of_earlier_and_of_deleted_sessions_go(join, redis):
    us = join("us")
    claim, state = us.claim(P), TranscriptState(5, "a")
    us.others.put_transcript(named("s1"), claim, NEW, state, b"okapi")
    now = replace(named("s2"), earlier=("s1",))
    us.others.put_transcript(now, claim, NEW, state, b"zebra")
    assert us.others.transcript_state("s1") == NEW
    us.put_session(now, claim)
    us.delete_session(P)
    assert us.others.transcript_state("s2") == NEW
    assert not redis.keys("cowork:transcript*")


def test_another_key_opens_none(join, redis_server, tmp_path):
    us = join("us")
    claim = us.claim(P)
    us.others.put_transcript(named("s1"), claim, NEW, TranscriptState(5, "a"), b"okapi")
    encryption = Encryption(tmp_path / "other.key")
    stranger = RedisStore(
        connect(redis_server.url), encryption, holder="x", reading=connect(redis_server.url)
    )
    assert stranger.others.transcript("s1") is None
    stranger.close()


# -- processes


def test_the_workers_of_a_machine_share_a_limit(join, redis):
    us, them = join("us"), join("them")
    assert us.others.acquire_processes("boot", 3, 4)
    assert them.others.acquire_processes("boot", 1, 4)
    assert not them.others.acquire_processes("boot", 2, 4)
    assert them.others.acquire_processes("another boot", 2, 4)
    us.others.acquire_processes("boot", 2, 0)
    assert them.others.acquire_processes("boot", 2, 4)
    silence(redis, "us")
    assert them.others.acquire_processes("boot", 4, 4)
