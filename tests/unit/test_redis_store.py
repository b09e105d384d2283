"""The store in Redis does what every store does: in a fake one, and in a real one."""

from __future__ import annotations

import fakeredis
import pytest

from cowork.stores import redis as redis_store
from cowork.stores.redis import RedisStore
from cowork.stores.redis_line import connect
from cowork.stores.secrecy import Secrecy
from tests.unit.durable_suite import DurableBehaviour
from tests.unit.store_suite import StoreBehaviour


class InRedis(DurableBehaviour, StoreBehaviour):
    limited = redis_store
    leasing = redis_store

    @pytest.fixture
    def open_as(self, tmp_path, client):
        opened = []

        def open_store(holder, **rules):
            secrecy = Secrecy(tmp_path / "store.key")
            opened.append(RedisStore(client(), secrecy, holder=holder, **rules))
            return opened[-1]

        yield open_store
        for store in opened:
            store.close()

    @pytest.fixture
    def store(self, open_as):
        return open_as("h/1:2:3")


class TestFakeRedisStore(InRedis):
    @pytest.fixture
    def client(self):
        server = fakeredis.FakeServer()
        return lambda: fakeredis.FakeRedis(server=server)


class TestRedisStore(InRedis):
    @pytest.fixture
    def client(self, redis_server):
        return lambda: connect(redis_server.url)
