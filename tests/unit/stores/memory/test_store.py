"""The store of one process does what every store does, and forgets the oldest when it is full."""

from __future__ import annotations

import pytest
import structlog.testing

from cowork.model import Exchange, Project, TurnEnd, UsageBy
from cowork.stores import open_store
from cowork.stores.memory import histories, outbox, tickets
from cowork.stores.memory import store as memory
from cowork.stores.memory import usage as memory_usage
from cowork.stores.memory.store import MemoryStore
from tests.unit.stores.durable_suite import record
from tests.unit.stores.node_suite import NodeBehaviour
from tests.unit.stores.store_suite import (
    BIG,
    NOW,
    P,
    Q,
    StoreBehaviour,
    heads,
    message,
    put_message,
    spends,
    ticket,
    usage,
)


class TestMemoryStore(NodeBehaviour, StoreBehaviour):
    limited = outbox
    limits = "cowork.stores.memory.nodes"
    ticket_module = memory

    @pytest.fixture
    def store(self):
        return MemoryStore()


def test_a_full_outbox_drops_the_message_that_waited_longest_and_says_so():
    store = MemoryStore(outbox_limit=3)
    with structlog.testing.capture_logs() as logs:
        for each in (message(1, Q), message(1), message(2), message(3)):
            put_message(store, each)
    assert store.outbox_counts().waiting == 3
    assert heads(store) == [message(1)]
    assert [entry["message_id"] for entry in logs] == [message(1, Q).id]


def test_a_full_outbox_says_so_once_until_it_is_not_full_any_more():
    store = MemoryStore(outbox_limit=2)
    with structlog.testing.capture_logs() as logs:
        for number in range(10):
            put_message(store, message(number))
        store.delete_message(message(8))
        assert len(logs) == 1
        for number in range(10, 20):
            put_message(store, message(number))
    assert [entry["message_id"] for entry in logs] == [message(0).id, message(9).id]
    assert store.outbox_counts().dropped == 17


def test_a_full_outbox_keeps_the_order_of_a_project():
    store = MemoryStore(outbox_limit=3)
    for number in range(10):
        put_message(store, message(number, P))
    left = []
    while (head := store.next_message(P)) is not None:
        left.append(head)
        store.delete_message(head)
    assert left == [message(7), message(8), message(9)]


def test_two_stores_share_nothing():
    put_message(MemoryStore(), message(1))
    assert MemoryStore().outbox_counts().waiting == 0


def test_a_store_is_opened_by_its_url():
    assert isinstance(open_store("memory://", outbox_limit=1), MemoryStore)


@pytest.mark.parametrize("url", ["", "memory", "nosuch://x"])
def test_a_url_that_names_no_store_is_refused(url):
    with pytest.raises(ValueError, match="store"):
        open_store(url, outbox_limit=1)


def test_an_outbox_of_large_messages_is_bounded_by_their_size():
    store = MemoryStore(outbox_bytes=1000)
    for number in range(5):
        put_message(store, message(number, message="x" * 400))
    assert store.outbox_counts().waiting == 2
    assert heads(store)[0].id == "-p-3"
    put_message(store, message(9, message="x" * 5000))
    assert [each.id for each in heads(store)] == ["-p-9"]


def test_fault_s4_who_floods_the_outbox_costs_no_other_its_refused_messages():
    store = MemoryStore(outbox_bytes=2000)
    theirs = message(0, Project("other", "p"), message="x" * 400)
    put_message(store, theirs)
    store.move_to_dead_letters(theirs, "why", NOW)
    for number in range(10):
        put_message(store, message(number, message="x" * 400))
    assert [letter.id for letter in store.dead_letters("other")] == [theirs.id]
    assert store.outbox_counts().waiting == 3
    assert store.requeue_dead_letters("other") == 1
    put_message(store, message(10, message="x" * 400))
    assert store.next_message(theirs.project).id == theirs.id


def test_large_dead_letters_make_room_before_any_message_that_waits():
    store = MemoryStore(outbox_bytes=1000)
    for number in range(2):
        put_message(store, message(number, message="x" * 400))
    store.move_to_dead_letters(message(0), "why", NOW)
    put_message(store, message(2, message="x" * 400))
    assert store.dead_letters("") == []
    counts = store.outbox_counts()
    assert (counts.waiting, counts.dropped) == (2, 1)


def said(store, project, text):
    """A turn of the project ends in which this was said."""
    claim, exchange = store.claim(project), Exchange(text, "yes")
    store.end_turn(TurnEnd(record=record(project=project), keep=0, claim=claim, exchange=exchange))
    store.release(claim)


def test_fault_s4_what_was_said_last_is_bounded_over_all_projects(monkeypatch):
    monkeypatch.setattr(histories, "HISTORIES_SIZE", 2**20)
    store, quiet = MemoryStore(), Project("quiet", "p")
    said(store, quiet, "mine")
    for number in range(400):
        said(store, Project("loud", f"p{number}"), "x" * 4000)
    told = [store.history(Project("loud", f"p{number}")) for number in range(400)]
    kept = [bool(each) for each in told]
    assert 200 < sum(kept) < 270
    assert kept == sorted(kept), "the latest are kept"
    assert store.history(quiet) == [Exchange("mine", "yes")]
    for number in range(400):
        store.delete_session(Project("loud", f"p{number}"))
    assert store._histories._sizes.total() < 200


def test_fault_w9_beyond_its_limit_of_turns_the_tickets_of_who_has_most_go_first(monkeypatch):
    monkeypatch.setattr(tickets, "TURN_LIMIT", 3)
    store = MemoryStore()
    assert store.put_ticket(ticket(1, "few", owner="few"))
    for number in range(9):
        assert store.put_ticket(ticket(1, f"many-{number}", owner="many"))
    assert store.use_ticket("few", "digest-1") is not None
    kept = [n for n in range(9) if store.use_ticket(f"many-{n}", "digest-1") is not None]
    assert kept == [7, 8]


def test_beyond_its_limit_the_oldest_that_was_spent_by_who_has_most_is_forgotten(monkeypatch):
    monkeypatch.setattr(memory_usage, "ROW_LIMIT", 5)
    store = MemoryStore()
    store.end_turn(spends(0, BIG, project=Project("few", "mine")))
    for number in range(1, 20):
        store.end_turn(spends(number, BIG, project=Project("many", f"p{number % 8}")))
    assert [row.turns for row in usage(store, owner="few")] == [1]
    kept = [row.name for row in usage(store, UsageBy.PROJECT, "many")]
    assert kept == ["p0", "p1", "p2", "p3"]


def test_of_the_ends_that_are_known_there_are_not_too_many(monkeypatch):
    monkeypatch.setattr(memory_usage, "TURN_LIMIT", 3)
    store = MemoryStore()
    for number in (1, 2, 3, 4, 4, 3, 2):
        store.end_turn(spends(number, BIG))
    assert len(store._usage._ended) == 3
    assert [row.turns for row in usage(store)] == [4]
