"""A backup holds everything, of a store that is written to as well, and nothing that a link leads to."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from cowork.claude.transcript import folder_name
from cowork.model import ConversationNode, XoToken
from cowork.operations import disk
from cowork.operations.backup import backup
from cowork.operations.errors import OperationFailed
from cowork.operations.manifest import read, verify
from cowork.operations.places import Places
from cowork.operations.restore import restore
from cowork.runtime.unix_user import ROOT, lookup_cli_user, make_folder, rights_of
from cowork.stores.encryption import Encryption
from cowork.stores.sqlite.schema import VERSION, migrate, open_file
from cowork.stores.sqlite.store import SqliteStore
from tests.serving import wait_for
from tests.unit.stores.durable_suite import ended, record
from tests.unit.stores.node_suite import put_node
from tests.unit.stores.store_suite import NOW, P, session

ID = "00000000-0000-4000-8000-000000000001"
TOKEN = XoToken("t" * 20, None, None, None, None)
OTHER_ID = "00000000-0000-4000-8000-000000000002"


def places_in(folder: Path) -> Places:
    return Places("", Path(), None, Path(), Path(), None).below(folder)


def open_store(places: Places, holder: str = "h/1:2:3") -> SqliteStore:
    file = places.store_file
    assert file is not None
    return SqliteStore(file, Encryption(places.store_key), holder=holder)


def put_session(places: Places) -> None:
    store = open_store(places)
    claim = store.claim(P)
    assert claim is not None
    assert store.put_session(session(P, cwd=str(places.workspace)), claim)
    put_node(store, ConversationNode(P, "key", ID, str(places.workspace), "turn-0"), claim)
    store.put_turn(record(holder="h/1:2:3"), None, None)
    store.put_token(TOKEN)
    store.close()


def transcript(places: Places, session_id: str = ID) -> Path:
    return places.config / "projects" / folder_name(str(places.workspace)) / f"{session_id}.jsonl"


@pytest.fixture
def old(tmp_path: Path) -> Places:
    """A server's places, with a session, its transcript and a file of its own."""
    places = places_in(tmp_path / "old")
    places.workspace.mkdir(parents=True)
    (places.workspace / "a.txt").write_text("mine")
    assert places.api_keys is not None
    places.api_keys.write_text("me=" + "k" * 40)
    places.api_keys.chmod(0o600)
    put_session(places)
    for session_id in (ID, OTHER_ID):
        file = transcript(places, session_id)
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"cwd": str(places.workspace), "n": 1}, {"cwd": f"{places.workspace}-not", "n": 2}]
        lines = [json.dumps(row, separators=(",", ":")) for row in rows]
        file.write_text("\n".join(lines) + '\n{"half of a row')
    history = places.config / "file-history" / ID
    history.mkdir(parents=True)
    (history / "abc@v1").write_text("before")
    os.utime(history / "abc@v1", (1_000_000, 1_000_000))
    (places.config / ".credentials.json").write_text("secret")
    return places


def test_a_backup_under_load_has_every_turn_that_was_recorded_before_it(
    tmp_path: Path, old: Places
) -> None:
    store, recorded, stop = open_store(old), [], threading.Event()

    def write() -> None:
        number = 100
        while not stop.is_set():
            number += 1
            store.end_turn(ended(record(number)))
            recorded.append(f"turn-{number}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            wait_for(lambda least=200 * (number + 1): len(recorded) >= least, what="turns")
            before = list(recorded)
            backup(old, tmp_path / f"kept-{number}")
            assert writer.is_alive()
            file = tmp_path / f"kept-{number}" / "store" / "state.db"
            with closing(sqlite3.connect(file)) as copy:
                held = {row[0] for row in copy.execute("SELECT id FROM turns")}
                assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert set(before) <= held
    finally:
        stop.set()
        writer.join()
        store.close()


def test_it_has_the_sessions_of_the_store_alone_and_keeps_modes_and_times(
    tmp_path: Path, old: Places
) -> None:
    (old.workspace / "run").write_text("#!/bin/sh")
    (old.workspace / "run").chmod(0o750)
    kept = tmp_path / "kept"
    made = backup(old, kept)
    claude = kept / "claude"
    files = {str(each.relative_to(claude)) for each in claude.rglob("*") if each.is_file()}
    name = folder_name(str(old.workspace))
    assert files == {f"projects/{name}/{ID}.jsonl", f"file-history/{ID}/abc@v1"}
    assert (claude / "file-history" / ID / "abc@v1").stat().st_mtime == 1_000_000
    assert (claude / "projects" / name / f"{ID}.jsonl").read_bytes().endswith(b"}\n"), "whole rows"
    assert stat.S_IMODE((kept / "workspace" / "run").stat().st_mode) == 0o750
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert (kept / "keys" / "store.key").read_bytes() == old.store_key.read_bytes()
    assert (kept / "keys" / "api-keys").exists()
    assert made.store["counts"]["sessions"] == 1
    assert made.store["schema"] == VERSION
    assert verify(kept, read(kept)) == 7


def test_it_copies_links_as_links_and_reads_nothing_through_one(
    tmp_path: Path, old: Places
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret of somebody else")
    (old.workspace / "link").symlink_to(outside)
    (old.workspace / "file").symlink_to(outside / "secret")
    (old.workspace / "strange\nname").write_text("x")
    os.mkfifo(old.workspace / "pipe")
    name = folder_name(str(old.workspace))
    (old.config / "todos").symlink_to(outside)
    kept = tmp_path / "kept"
    made = backup(old, kept)
    assert (kept / "workspace" / "link").readlink() == outside
    assert (kept / "workspace" / "file").is_symlink()
    assert not (kept / "workspace" / "pipe").exists()
    assert "workspace/pipe: it is a socket, pipe or device" in made.left_out
    assert "claude/todos: it is a link" in made.left_out
    assert b"secret of" not in b"".join(
        each.read_bytes() for each in kept.rglob("*") if each.is_file() and not each.is_symlink()
    )
    new = places_in(tmp_path / "new")
    restore(kept, new)
    assert (new.workspace / "link").readlink() == outside
    assert (new.workspace / "strange\nname").read_text() == "x"
    assert name not in {each.name for each in (new.config / "projects").iterdir()}


def test_it_goes_nowhere_where_something_is_or_where_it_would_be_backed_up_itself(
    tmp_path: Path, old: Places
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    for folder in (tmp_path / "full", old.workspace / "kept", old.config / "x" / "kept"):
        with pytest.raises(OperationFailed):
            backup(old, folder)
    assert not (old.workspace / "kept").exists()
    assert not (old.config / "x").exists()


@pytest.mark.parametrize("store", ["memory://", "redis://127.0.0.1:1/0"])
def test_of_a_store_that_it_cannot_copy_it_says_so(tmp_path: Path, old: Places, store: str) -> None:
    places = replace(old, store=store)
    with pytest.raises(OperationFailed, match="--without-store"):
        backup(places, tmp_path / "kept")
    made = backup(places, tmp_path / "kept", store=False)
    assert made.store == {"kind": store.partition(":")[0], "included": False}
    # Without the store's word all sessions of the workspace are taken.
    names = {each.name for each in (tmp_path / "kept" / "claude").glob("projects/*/*")}
    assert names == {f"{ID}.jsonl", f"{OTHER_ID}.jsonl"}


def test_nothing_is_left_of_one_for_which_there_is_no_room(
    tmp_path: Path, old: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "MIN_FREE_BYTES", 2**60)
    with pytest.raises(OperationFailed, match="no room"):
        backup(old, tmp_path / "kept")
    assert [each.name for each in tmp_path.iterdir()] == ["old"]


def test_a_restored_store_and_transcripts_name_the_new_workspace(
    tmp_path: Path, old: Places
) -> None:
    backup(old, tmp_path / "kept")
    new = places_in(tmp_path / "new")
    done = restore(tmp_path / "kept", new)
    assert done.moved_aside == []
    rows = list(map(json.loads, transcript(new).read_text().splitlines()))
    assert [row["cwd"] for row in rows] == [str(new.workspace), f"{old.workspace}-not"]
    assert (new.config / "file-history" / ID / "abc@v1").stat().st_mtime == 1_000_000
    assert (new.workspace / "a.txt").read_text() == "mine"
    store = open_store(new, holder="new")
    found = store.session(P)
    assert found is not None
    assert (found.id, found.cwd, found.created) == (ID, str(new.workspace), NOW)
    node = store.node(P.owner, "key")
    assert node is not None
    assert (node.session_id, node.cwd) == (ID, str(new.workspace))
    lost = store.turn("", "turn-1")
    assert lost is not None
    assert lost[0].state == "failed", "nobody runs it any more"
    claim = store.claim(P)
    assert claim is not None, "nobody holds the project"
    assert store.token() == TOKEN
    store.close()
    assert stat.S_IMODE(new.store_key.stat().st_mode) == 0o600


def test_what_is_there_is_refused_and_by_force_moved_aside(tmp_path: Path, old: Places) -> None:
    backup(old, tmp_path / "kept")
    (old.workspace / "a.txt").write_text("newer")
    transcript(old).write_text("newer\n")
    with pytest.raises(OperationFailed, match="--force"):
        restore(tmp_path / "kept", old)
    assert (old.workspace / "a.txt").read_text() == "newer"
    done = restore(tmp_path / "kept", old, force=True)
    assert str(old.store_file) in done.moved_aside
    assert (old.workspace / "a.txt").read_text() == "mine"
    (aside,) = old.workspace.parent.glob("workspace.before-restore-*")
    assert (aside / "a.txt").read_text() == "newer"
    (aside,) = old.config.glob("before-restore-*/projects/*/*.jsonl")
    assert aside.read_text() == "newer\n"
    assert old.store_file is not None
    asides = {each.suffix for each in old.store_file.parent.glob("state.db.before-restore-*")}
    assert len([each for each in asides if not each.endswith(("-wal", "-shm"))]) == 1
    # A log alone would be read into the file that comes.
    old.store_file.rename(tmp_path / "gone")
    old.store_file.with_name("state.db-wal").write_bytes(b"a log")
    with pytest.raises(OperationFailed, match=r"state\.db"):
        restore(tmp_path / "kept", old)


def test_a_damaged_backup_changes_nothing(tmp_path: Path, old: Places) -> None:
    kept, new = tmp_path / "kept", places_in(tmp_path / "new")
    backup(old, kept)
    file = kept / "workspace" / "a.txt"
    for change in (lambda: file.write_text("nine"), file.unlink):
        change()
        with pytest.raises(OperationFailed, match=r"workspace/a\.txt is (damaged|missing)"):
            restore(kept, new)
    file.write_text("mine")
    (kept / "workspace" / "put there").touch()
    with pytest.raises(OperationFailed, match="none of it"):
        restore(kept, new)
    assert not (tmp_path / "new").exists()
    (kept / "manifest.json").unlink()
    with pytest.raises(OperationFailed, match="no backup"):
        restore(kept, new)


def test_no_server_may_use_the_store_meanwhile(tmp_path: Path, old: Places) -> None:
    kept, new = tmp_path / "kept", places_in(tmp_path / "new")
    backup(old, kept)
    new.workspace.parent.mkdir()
    # A lock of this process would not stand in its own way.
    lock = new.workspace.parent / "state.db.lock"
    holder = os.fork()
    if not holder:
        import fcntl  # noqa: PLC0415

        handle = os.open(lock, os.O_RDWR | os.O_CREAT)
        fcntl.lockf(handle, fcntl.LOCK_EX)
        (tmp_path / "locked").touch()
        threading.Event().wait(30)
        os._exit(0)
    try:
        wait_for((tmp_path / "locked").exists, what="the lock")
        with pytest.raises(OperationFailed, match="another server"):
            restore(kept, new)
    finally:
        os.kill(holder, 9)
        os.waitpid(holder, 0)
    assert not new.workspace.exists()


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_backup_of_every_earlier_schema_is_restored(tmp_path: Path, version: int) -> None:
    old, new = places_in(tmp_path / "old"), places_in(tmp_path / "new")
    old.workspace.mkdir(parents=True)
    assert old.store_file is not None
    with closing(sqlite3.connect(old.store_file, isolation_level=None)) as file:
        migrate(file, version)
        file.execute(
            "INSERT INTO sessions (owner, name, id, cwd, created, last_used, turns, cost_usd)"
            " VALUES ('', 'p', ?, ?, ?, ?, 1, 0.5)",
            (ID, str(old.workspace / "p"), NOW.isoformat(), NOW.isoformat()),
        )
    made = backup(old, tmp_path / "kept")
    assert made.store["schema"] == version
    restore(tmp_path / "kept", new)
    store = open_store(new)
    found = store.session(P)
    store.close()
    assert found is not None
    assert (found.cwd, found.turns) == (f"{new.workspace}/p", 1)


def test_one_of_a_newer_server_is_refused(tmp_path: Path, old: Places) -> None:
    assert old.store_file is not None
    with closing(open_file(old.store_file, Encryption(old.store_key))) as file:
        file.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(OperationFailed, match="newer"):
        backup(old, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.skipif(os.geteuid() != ROOT, reason="the CLI has another user only where we are root")
def test_what_is_the_clis_users_is_read_and_written_with_that_users_rights(shared: Path) -> None:
    user = lookup_cli_user("nobody")
    (shared / "root's").write_text("not for nobody")
    (shared / "root's").chmod(0o600)
    for folder in (shared / "old", shared / "new"):
        folder.mkdir(mode=0o711)
    old = replace(places_in(shared / "old"), cli_user=user, store="memory://")
    new = replace(places_in(shared / "new"), cli_user=user)
    make_folder(old.workspace, user)
    make_folder(old.config, user)
    with rights_of(user):
        (old.workspace / "a.txt").write_text("mine")
        (old.workspace / "a.txt").chmod(0o400)
        (old.workspace / "link").symlink_to(shared / "root's")
    (old.workspace / "hidden").write_text("not for nobody")
    (old.workspace / "hidden").chmod(0o600)
    made = backup(old, shared / "kept", store=False)
    assert made.unreadable == 1
    assert made.left_out == ["workspace/hidden: Permission denied"]
    restore(shared / "kept", new)
    found = (new.workspace / "a.txt").stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (user.uid, 0o400)
    assert new.workspace.stat().st_uid == user.uid
    assert (new.workspace / "link").is_symlink()


def test_a_backup_without_keys_says_what_is_lost_with_them(tmp_path: Path, old: Places) -> None:
    backup(old, tmp_path / "kept", keys=False)
    assert not (tmp_path / "kept" / "keys").exists()
    new = places_in(tmp_path / "new")
    (note,) = restore(tmp_path / "kept", new).notes
    assert "log in again" in note
    store = open_store(new)
    assert store.token() is None
    store.close()
