"""The store of one process does what every store does, and forgets the oldest when it is full."""

from __future__ import annotations

import pytest
import structlog.testing

from cowork.stores import open_store
from cowork.stores.base import ChatMessage, Project
from cowork.stores.memory import MemoryStore
from tests.unit.store_suite import P, Q, StoreBehaviour, message


class TestMemoryStore(StoreBehaviour):
    @pytest.fixture
    def store(self):
        return MemoryStore()


def test_a_full_outbox_drops_the_message_that_waited_longest_and_says_so():
    store = MemoryStore(outbox_limit=3)
    with structlog.testing.capture_logs() as logs:
        for each in (message(1, Q), message(1), message(2), message(3)):
            store.put_message(each)
    assert store.message_count() == 3
    assert store.next_messages() == [message(1)]
    assert [entry["message_id"] for entry in logs] == [message(1, Q).id]


def test_a_full_outbox_keeps_the_order_of_a_project():
    store = MemoryStore(outbox_limit=3)
    for number in range(10):
        store.put_message(message(number, P))
    left = []
    while heads := store.next_messages():
        left += heads
        store.drop_message(heads[0])
    assert left == [message(7), message(8), message(9)]


def test_two_stores_share_nothing():
    MemoryStore().put_message(message(1))
    assert MemoryStore().message_count() == 0


def test_a_store_is_opened_by_its_url():
    assert isinstance(open_store("memory://", outbox_limit=1), MemoryStore)


@pytest.mark.parametrize("url", ["", "memory", "nosuch://x"])
def test_a_url_that_names_no_store_is_refused(url):
    with pytest.raises(ValueError, match="store"):
        open_store(url, outbox_limit=1)


def test_an_outbox_of_large_messages_is_bounded_by_their_size():
    store = MemoryStore(outbox_bytes=1000)
    project = Project("", "p")
    for number in range(5):
        store.put_message(ChatMessage(str(number), project, None, "x" * 400, None))
    assert store.message_count() == 2
    assert store.next_messages()[0].id == "3"
    store.put_message(ChatMessage("huge", project, None, "x" * 5000, None))
    assert [message.id for message in store.next_messages()] == ["huge"]
