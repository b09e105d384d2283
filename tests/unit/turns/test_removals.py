"""The files of deleted sessions go when their processes are over; what is left waits in the store."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cowork.claude.session_files import SessionFiles
from cowork.errors import StoreUnavailable
from cowork.stores.memory.store import MemoryStore
from cowork.turns.removals import Removals
from tests.serving import wait_for
from tests.unit.stores.store_suite import P, Q, kept

PATIENCE_S = 10.0


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def new(store, tmp_path):
    begun = []

    def make(of=store):
        begun.append(Removals(of, SessionFiles(tmp_path, [])))
        return begun[-1]

    yield make
    for each in begun:
        each.close()


def transcript(folder: Path, session_id: str) -> Path:
    path = folder / "projects" / "-ws" / f"{session_id}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("said")
    return path


def test_files_go_before_add_returns_where_nothing_is_in_the_way(store, new, tmp_path):
    left = kept(store, P)
    path = transcript(tmp_path, left.id)
    store.delete_session(P)
    new().add(left.ids, lambda: True)
    wait_for(lambda: not path.exists(), PATIENCE_S, "the end of a file")
    wait_for(lambda: store.removals() == [], PATIENCE_S, "the end of a removal")


def test_files_stay_until_the_process_is_over_and_hold_up_no_others(store, new, tmp_path):
    over = threading.Event()
    first, second = kept(store, P, 1), kept(store, Q, 2)
    paths = [transcript(tmp_path, each.id) for each in (first, second)]
    for project in (P, Q):
        store.delete_session(project)
    removals = new()
    removals.add(first.ids, over.is_set)
    removals.add(second.ids, lambda: True)
    wait_for(lambda: not paths[1].exists(), PATIENCE_S, "the other's removal")
    assert paths[0].exists()
    assert store.removals() == [first.id]
    over.set()
    wait_for(lambda: store.removals() == [], PATIENCE_S, "its removal")
    assert not paths[0].exists()


def test_what_cannot_be_removed_is_told_of_and_tried_again_by_the_next_start(
    store, new, tmp_path, capsys
):
    left = kept(store, P)
    path = transcript(tmp_path / "elsewhere", left.id)
    (tmp_path / "projects").symlink_to(path.parent.parent)
    store.delete_session(P)
    new().add(left.ids, lambda: True)
    wait_for(lambda: "next start retries" in capsys.readouterr().out, PATIENCE_S, "the line")
    assert path.exists()
    assert store.removals() == [left.id]
    (tmp_path / "projects").unlink()
    (tmp_path / "elsewhere" / "projects").rename(tmp_path / "projects")
    new().start()
    wait_for(lambda: store.removals() == [], PATIENCE_S, "its removal")
    assert list((tmp_path / "projects" / "-ws").iterdir()) == []


def test_a_close_leaves_what_waits_to_the_next_start(store, new, tmp_path):
    left = kept(store, P)
    path = transcript(tmp_path, left.id)
    store.delete_session(P)
    removals = new()
    removals.add(left.ids, lambda: False)
    removals.close()
    removals.add(left.ids, lambda: True)
    assert path.exists()
    assert store.removals() == [left.id]


def test_a_store_that_is_away_at_the_start_or_the_end_is_no_trouble(store, new, tmp_path):
    left = kept(store, P)
    path = transcript(tmp_path, left.id)

    class Away:
        def removals(self):
            raise StoreUnavailable("away")

        def delete_removal(self, session_id):
            raise StoreUnavailable(session_id)

    removals = new(Away())
    removals.start()
    removals.add(left.ids, lambda: True)
    wait_for(lambda: not path.exists(), PATIENCE_S, "the end of a file")
