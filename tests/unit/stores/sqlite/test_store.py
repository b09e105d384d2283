"""The store in a file does what every store does, and what one that outlives its process must."""

from __future__ import annotations

import pytest

from cowork.stores.encryption import Encryption
from cowork.stores.sqlite import claims, outbox, turns
from cowork.stores.sqlite import store as store_module
from cowork.stores.sqlite.store import SqliteStore
from tests.unit.stores.durable_suite import DurableBehaviour, ended, record
from tests.unit.stores.node_suite import NodeBehaviour
from tests.unit.stores.store_suite import StoreBehaviour, ticket


class TestSqliteStore(DurableBehaviour, NodeBehaviour, StoreBehaviour):
    limited = outbox
    limits = "cowork.stores.sqlite.nodes"
    ticket_module = store_module
    ttl_modules = (claims,)
    page_modules = (turns,)

    @pytest.fixture
    def open_as(self, tmp_path):
        opened = []

        def open_store(holder, **rules):
            path = tmp_path / "state" / "cowork.db"
            opened.append(
                SqliteStore(path, Encryption(tmp_path / "store.key"), holder=holder, **rules)
            )
            return opened[-1]

        yield open_store
        for store in opened:
            store.close()

    @pytest.fixture
    def store(self, open_as):
        return open_as("h/1:2:3")


def test_fault_w9_a_turns_tickets_go_with_it(tmp_path):
    store = SqliteStore(tmp_path / "state" / "c.db", Encryption(tmp_path / "key"), holder="a")
    store.put_turn(record(), None, None)
    assert store.put_ticket(ticket(1))
    store.end_turn(ended(record(), keep=0.0))
    assert store.use_ticket("turn-1", "digest-1") == ticket(1)
    assert store.expire(10) == 1
    assert store.use_ticket("turn-1", "digest-1") is None
    store.close()
