"""The store in a file does what every store does, and what one that outlives its process must."""

from __future__ import annotations

import pytest

from cowork.stores import sqlite_outbox
from cowork.stores.sqlite import SqliteStore
from tests.unit.store_suite import StoreBehaviour


class TestSqliteStore(StoreBehaviour):
    limited = sqlite_outbox

    @pytest.fixture
    def store(self, tmp_path):
        store = SqliteStore(tmp_path / "state" / "cowork.db", holder="h/1:2:3")
        yield store
        store.close()
