"""The store in Redis does what every store does: in a fake one, and in a real one."""

from __future__ import annotations

import fakeredis
import pytest

from cowork.stores import redis as redis_store
from cowork.stores.redis import RedisStore
from cowork.stores.redis_line import connect
from cowork.stores.secrecy import Secrecy
from tests.unit.store_suite import StoreBehaviour


class TestFakeRedisStore(StoreBehaviour):
    limited = redis_store

    @pytest.fixture
    def store(self, tmp_path):
        client = fakeredis.FakeRedis()
        store = RedisStore(client, Secrecy(tmp_path / "store.key"), holder="h/1:2:3")
        yield store
        store.close()


class TestRedisStore(StoreBehaviour):
    limited = redis_store

    @pytest.fixture
    def store(self, tmp_path, redis_server):
        secrecy = Secrecy(tmp_path / "store.key")
        store = RedisStore(connect(redis_server.url), secrecy, holder="h/1:2:3")
        yield store
        store.close()
