"""The store in Redis does what every store does: in a fake one, and in a real one."""

from __future__ import annotations

import stat
import time
from datetime import timedelta

import fakeredis
import pytest
from redis import exceptions

from cowork.errors import OutboxFull, StoreUnavailable
from cowork.log import register_secret
from cowork.model import TurnFilter, TurnKey, XoToken
from cowork.stores.encryption import Encryption
from cowork.stores.protocol import StoreUnusable
from cowork.stores.redis import claims, keys, outbox, tickets, turns
from cowork.stores.redis.connection import RedisConnection, connect
from cowork.stores.redis.store import RedisStore
from tests.serving import free_port, wait_for
from tests.unit.stores.durable_suite import (
    KEEP,
    DurableBehaviour,
    ended,
    listed,
    made,
    question,
    record,
)
from tests.unit.stores.node_suite import NodeBehaviour
from tests.unit.stores.store_suite import (
    BIG,
    TODAY,
    P,
    StoreBehaviour,
    at_once,
    session,
    spends,
)


class InRedis(DurableBehaviour, NodeBehaviour, StoreBehaviour):
    limited = outbox
    limits = "cowork.stores.redis.nodes"
    ticket_module = tickets
    ttl_modules = (claims,)
    page_modules = (turns,)

    @pytest.fixture
    def open_as(self, tmp_path, client):
        opened = []

        def open_store(holder, **rules):
            encryption = Encryption(tmp_path / "store.key")
            opened.append(RedisStore(client(), encryption, holder=holder, **rules))
            return opened[-1]

        yield open_store
        for store in opened:
            store.close()

    @pytest.fixture
    def store(self, open_as):
        return open_as("h/1:2:3")


class Lines:
    """Calls that fail as they are told to, on a line to nobody."""

    def __init__(self):
        self.connection = RedisConnection(fakeredis.FakeRedis(), "x:")
        self.made = 0
        self.fault = None

    def call(self):
        def run(_client):
            self.made += 1
            if self.fault is not None:
                raise self.fault
            return 5

        return self.connection.call(run)


FAULTS = [
    exceptions.ConnectionError("refused"),
    exceptions.TimeoutError("slow"),
    exceptions.BusyLoadingError("loading"),
    exceptions.ReadOnlyError("a replica"),
    exceptions.OutOfMemoryError("full"),
    exceptions.ResponseError("MISCONF cannot persist"),
    OSError("no route"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_while_redis_is_away_callers_are_told_at_once_and_one_looks_now_and_then(fault):
    lines = Lines()
    lines.fault = fault
    with pytest.raises(StoreUnavailable) as first:
        lines.call()
    assert first.value.outcome_unknown
    for _ in range(50):
        with pytest.raises(StoreUnavailable):
            lines.call()
    assert lines.made < 10
    lines.fault = None

    def answers():
        try:
            return lines.call() == 5
        except StoreUnavailable:
            return False

    wait_for(answers, what="the return")
    assert lines.call() == 5


def test_a_fault_of_ours_is_no_reason_to_call_redis_away():
    lines = Lines()
    lines.fault = exceptions.ResponseError("WRONGTYPE of a key")
    with pytest.raises(exceptions.ResponseError):
        lines.call()
    lines.fault = None
    assert lines.call() == 5


def test_a_password_is_in_no_error(tmp_path):
    secret = "p4ssw0rd-of-redis"
    register_secret(secret)
    client = connect(f"redis://:{secret}@127.0.0.1:{free_port()}/0")
    store = RedisStore(client, Encryption(tmp_path / "key"), holder="a")
    with pytest.raises(StoreUnavailable) as caught:
        store.session_count()
    assert secret not in str(caught.value)
    store.close()


def test_state_of_a_newer_server_is_refused(tmp_path):
    server = fakeredis.FakeServer()
    client = fakeredis.FakeRedis(server=server)
    store = RedisStore(client, Encryption(tmp_path / "key"), holder="a")
    store.heartbeat()
    assert client.get("cowork:version") == str(keys.VERSION).encode()
    client.set("cowork:version", keys.VERSION + 1)
    with pytest.raises(StoreUnavailable, match="update the server"):
        store.heartbeat()
    with pytest.raises(StoreUnusable, match="update the server"):
        RedisStore(client, Encryption(tmp_path / "key"), holder="a")
    store.close()


def test_a_token_that_another_key_hid_is_none(tmp_path):
    server = fakeredis.FakeServer()
    token = XoToken("access", "refresh", None, "u", "s")
    first = RedisStore(fakeredis.FakeRedis(server=server), Encryption(tmp_path / "a"), holder="a")
    other = RedisStore(fakeredis.FakeRedis(server=server), Encryption(tmp_path / "b"), holder="b")
    first.put_token(token)
    assert first.token() == token
    assert other.token() is None
    assert other.compare_and_set_token(None, token) is True
    assert first.token() is None


def test_the_key_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "new" / "store.key"
    hidden = at_once([lambda: Encryption(path).encrypt("text")] * 8)
    assert {Encryption(path).decrypt(each) for each in hidden} == {"text"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["store.key"]


def test_a_key_that_is_none_is_told_without_its_text(tmp_path):
    (tmp_path / "key").write_text("not a key at all")
    with pytest.raises(StoreUnavailable, match="COWORK_STORE_KEY_FILE") as caught:
        Encryption(tmp_path / "key").encrypt("text")
    assert "not a key" not in str(caught.value)


def test_numbers_grow_also_after_redis_was_restarted_empty(redis_server, tmp_path):
    store = RedisStore(connect(redis_server.url), Encryption(tmp_path / "key"), holder="a")
    before = store.claim(P)
    redis_server.stop()
    redis_server.start()
    again = RedisStore(connect(redis_server.url), Encryption(tmp_path / "key"), holder="b")
    after = again.claim(P)
    assert after.number > before.number
    wait_for(lambda: refuses(store, before), what="the refusal")
    store.close()
    again.close()


def refuses(store, claim):
    try:
        return store.put_session(session(P), claim) is False
    except StoreUnavailable:
        return False


class TestFakeRedisStore(InRedis):
    @pytest.fixture
    def client(self):
        server = fakeredis.FakeServer()
        return lambda: fakeredis.FakeRedis(server=server)


class TestRedisStore(InRedis):
    @pytest.fixture
    def client(self, redis_server):
        return lambda: connect(redis_server.url)


def test_fault_s4_what_an_earlier_server_put_is_counted_when_the_count_is_made_anew(tmp_path):
    client = fakeredis.FakeRedis()
    store = RedisStore(client, Encryption(tmp_path / "key"), holder="a", outbox_bytes=3000)
    assert not store.outbox_counts().full
    assert 0 < client.pttl("cowork:outbox_held") <= 60_000
    # As one does that keeps no count.
    for number in range(2500):
        client.hset("cowork:messages", f"m{number}", "xx")
        client.zadd("cowork:outbox", {f"m{number}": number})
        client.zadd("cowork:waiting:\0p", {f"m{number}": number})
    client.zadd("cowork:projects", {"\0p": 0})
    client.delete("cowork:outbox_held")
    with pytest.raises(OutboxFull):
        store.put_turn(record(), question(), None)
    store.close()


def test_what_every_request_of_an_sdk_has_is_kept_for_two_hours_alone(tmp_path):
    client = fakeredis.FakeRedis()
    store = RedisStore(client, Encryption(tmp_path / "key"), holder="a")
    store.bind_key(TurnKey("", "said", "d"), "turn-1")
    store.bind_key(TurnKey("", "sdk", "d"), "turn-1", replaces=True)
    assert client.pttl("cowork:key:\0said") > 23 * 3600 * 1000
    assert 0 < client.pttl("cowork:key:\0sdk") <= 2 * 3600 * 1000
    store.close()


def test_a_deletion_finds_the_turns_of_an_earlier_version_after_a_look_for_them(tmp_path):
    server = fakeredis.FakeServer()
    client = fakeredis.FakeRedis(server=server)
    earlier = RedisStore(client, Encryption(tmp_path / "key"), holder="a")
    for number in range(1, 500):
        earlier.end_turn(ended(record(number), log=b"x"))
    earlier.put_turn(record(500), None, None)
    indexes = client.keys("cowork:turns_of:*")
    assert len(indexes) == 1
    assert 0 < client.pttl(indexes[0]) <= (KEEP + 2) * 1000
    client.delete(*indexes)
    earlier.delete_session(P)
    assert earlier.turn("", "turn-1") is not None
    store = RedisStore(client, Encryption(tmp_path / "key"), holder="b")
    looks = 1
    while store.expire(50) == 50:
        looks += 1
    assert store.expire(50) == 0
    assert looks > 1
    store.delete_session(P)
    assert client.keys("cowork:turn:*") == [b"cowork:turn:turn-500"]
    earlier.close()
    store.close()


def test_the_turns_of_an_earlier_version_are_listed_after_a_look_for_them(tmp_path):
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    store = RedisStore(client, Encryption(tmp_path / "key"), holder="a")
    store.end_turn(ended(made(1)))
    store.put_turn(made(2), None, None)
    client.delete(*client.keys("cowork:turns_at:*"))
    assert listed(store) == []
    store.expire(50)
    assert listed(store) == ["turn-2", "turn-1"]
    (index,) = client.keys("cowork:turns_at:*")
    assert 0 < client.pttl(index) <= 7 * 24 * 3600 * 1000
    client.delete("cowork:turn:turn-1")
    assert listed(store) == ["turn-2"]
    assert client.zrange(index, 0, -1) == [b"turn-2"]
    store.close()


def test_so_many_turns_are_passed_over_and_the_rest_is_behind_a_place(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "TURN_PAGE_SCANNED", 3)
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    store = RedisStore(client, Encryption(tmp_path / "key"), holder="a")
    store.end_turn(ended(made(1), "failed"))
    for number in range(2, 9):
        store.put_turn(made(number), None, None)
    found, before, pages = [], None, 0
    while pages == 0 or before is not None:
        page = store.turns(P, TurnFilter(2, "failed", before))
        found += [each.id for each in page.records]
        before, pages = page.next, pages + 1
    assert (found, pages) == (["turn-1"], 3)
    store.close()


def test_an_index_forgets_the_turns_that_have_expired(tmp_path):
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    store = RedisStore(client, Encryption(tmp_path / "key"), holder="a")
    store.end_turn(ended(record(1), keep=0.02))
    time.sleep(0.03)
    store.end_turn(ended(record(2)))
    assert client.zrange(client.keys("cowork:turns_of:*")[0], 0, -1) == [b"turn-2"]
    store.close()


def test_a_session_that_changes_while_it_is_deleted_is_read_again(tmp_path):
    server = fakeredis.FakeServer()
    changes = [session(P, 2), session(P, 3)]

    class Slow(fakeredis.FakeRedis):
        def hget(self, *given):
            found = super().hget(*given)
            if changes:
                other.put_session(changes.pop(0), claim)
            return found

    other = RedisStore(fakeredis.FakeRedis(server=server), Encryption(tmp_path / "key"), holder="a")
    claim = other.claim(P)
    other.put_session(session(P, 1), claim)
    store = RedisStore(Slow(server=server), Encryption(tmp_path / "key"), holder="b")
    assert store.delete_session(P) == session(P, 3)
    assert store.removals() == [session(P, 3).id]
    store.close()
    other.close()


def test_what_was_spent_expires_by_itself_also_where_more_is_added(tmp_path):
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    store = RedisStore(client, Encryption(tmp_path / "key"), holder="a")
    day_ms = 24 * 3600 * 1000
    for number in range(2):
        store.end_turn(spends(number, BIG, at=TODAY - timedelta(days=100)))
        keys = client.keys("cowork:usage*")
        assert len(keys) == 2
        for key in keys:
            assert 299 * day_ms < client.pttl(key) < 302 * day_ms
    store.end_turn(spends(2, BIG, at=TODAY - timedelta(days=1000)))
    assert client.keys("cowork:usage*") == keys
    store.close()
