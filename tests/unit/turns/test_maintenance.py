"""Maintenance releases what dead workers held, and nothing else, and knows whether the store is there."""

from __future__ import annotations

import threading

import pytest

from cowork.errors import StoreUnavailable
from cowork.history.chat_api import NoChatApi
from cowork.history.outbox import Outbox
from cowork.history.relay import Relay
from cowork.stores.encryption import Encryption
from cowork.stores.memory.store import MemoryStore
from cowork.stores.sqlite.store import SqliteStore
from cowork.turns.maintenance import StoreMaintenance
from cowork.turns.recorder import TurnRecorder
from cowork.turns.registry import TurnRegistry
from tests.serving import wait_for
from tests.unit.stores.durable_suite import ended, record

OURS = "here/10:1:77"


class Store(SqliteStore):
    """Says whatever age of a heartbeat it is told to; may be away."""

    away = False

    def __init__(self, path, **given):
        super().__init__(path, Encryption(path.with_name("store.key")), **given)
        self.silent = {}

    def heartbeat(self):
        if self.away:
            raise StoreUnavailable("away")
        super().heartbeat()

    def holders(self):
        return {**super().holders(), **self.silent}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "state.db", holder=OURS)
    yield store
    store.close()


@pytest.fixture
def keep(store):
    """Start the maintenance; `keep({"dead"})` says whose processes are certainly gone."""
    begun = []

    def start(gone=frozenset(), of=store):
        relay = Relay(of, NoChatApi(), lambda: None, holder=OURS)
        recorder = TurnRecorder(of, Outbox(of, relay), holder=OURS, retention=9)
        registry = TurnRegistry(9, of, OURS)
        begun.append(
            StoreMaintenance(of, recorder, registry, holder=OURS, is_dead=lambda name: name in gone)
        )
        begun[-1].start()
        return begun[-1], registry

    yield start
    for maintenance in begun:
        maintenance.close()


@pytest.mark.parametrize(
    ("holder", "silent", "gone", "released"),
    [
        ("here/9:1:77", 0.0, True, True),
        ("here/9:1:77", 999.0, False, False),  # it lives, and is only slow
        ("here/9:1:78", 999.0, False, True),  # of another container: only its silence tells
        ("there/9:1:77", 999.0, False, True),
        ("there/9:1:77", 1.0, False, False),
        ("there/9:1:77", float("inf"), False, True),
        ("here/9:1:0", 999.0, False, True),  # where there is no /proc, nobody sees it die
        (OURS, 999.0, True, False),
    ],
)
def test_a_dead_holder_is_released_and_no_other(holder, silent, gone, released, store, keep):  # noqa: PLR0917
    store.put_turn(record(holder=holder), None, None)
    store.silent = {holder: silent}
    keep({holder} if gone else frozenset())
    state = store.turn("", "turn-1")[0].state
    assert state == ("failed" if released else "running")


def test_a_store_that_is_away_is_noticed_when_somebody_has_trouble_and_when_it_is_back(store, keep):
    maintenance, _ = keep()
    assert maintenance.ok
    store.away = True
    maintenance.run_soon()
    wait_for(lambda: not maintenance.ok, what="the notice")
    store.away = False
    wait_for(lambda: maintenance.ok, what="the return")


def test_what_was_kept_long_enough_is_removed(store, keep):
    for number in range(120):
        store.put_turn(record(number), None, None)
        store.end_turn(ended(record(number), keep=-1.0))
    keep()
    assert store.turn("", "turn-1") is None
    assert store.turn("", "turn-119") is None


def test_a_turn_of_another_process_is_followed_to_its_end(keep, tmp_path):
    elsewhere = SqliteStore(
        tmp_path / "state.db", Encryption(tmp_path / "store.key"), holder="here/9:1:77"
    )
    running = record(holder="here/9:1:77")
    body = {
        "question": {"text": "why?"},
        "request_id": None,
        "session_id": None,
        "is_new_session": False,
        "session_recovered": False,
    }
    object.__setattr__(running, "body", body)
    elsewhere.put_turn(running, None, None)
    maintenance, registry = keep()
    turn = registry.get("", "turn-1")
    assert turn.done is None
    assert registry.get("", "turn-1") is turn
    end = ended(running)
    end.record.body["end"] = {"success": True, "message": "4"}
    elsewhere.end_turn(end)
    maintenance.run_soon()
    wait_for(lambda: turn.done is not None, what="the end")
    assert turn.done.message == "4"
    assert registry.remote.count == 0
    elsewhere.close()


def test_a_store_of_this_process_alone_needs_no_thread(keep):
    maintenance, _ = keep(of=MemoryStore())
    assert not [each for each in threading.enumerate() if each.name == "maintenance"]
    assert maintenance.ok
