"""The store's file is for its owner alone, is brought up to date, and is refused in clear words."""

from __future__ import annotations

import os
import pwd
import shutil
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cowork.errors import StoreUnavailable
from cowork.model import Project, Usage, UsageBy, XoToken
from cowork.stores import open_store, sqlite_path
from cowork.stores.encryption import Encryption
from cowork.stores.protocol import StoreUnusable
from cowork.stores.serialization import message_json, record_json
from cowork.stores.sqlite.schema import (
    APPLICATION,
    MIGRATIONS,
    VERSION,
    _empty_wal,
    migrate,
    open_file,
)
from cowork.stores.sqlite.store import SqliteStore
from cowork.turns.records import from_record
from tests.unit.stores.durable_suite import ended, listed, made, record, waiting
from tests.unit.stores.store_suite import (
    BIG,
    P,
    Q,
    at_once,
    kept,
    message,
    put_message,
    spends,
    usage,
)

OLD = Path(__file__).parent / "data" / "state-v1.db"
SECOND = OLD.with_name("state-v2.db")
OLD_PROJECT = Project("", "my project")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_file_and_directory_are_made_for_their_owner_alone(tmp_path):
    path = tmp_path / "a" / "b" / "state.db"
    store = SqliteStore(path, Encryption(tmp_path / "store.key"), holder="a")
    kept(store, P)
    beside = sorted(each.name for each in path.parent.iterdir())
    assert beside == ["state.db", "state.db-shm", "state.db-wal"]
    assert {mode(each) for each in path.parent.iterdir()} == {0o600}
    assert mode(path.parent) == 0o700
    store.close()
    assert [each.name for each in path.parent.iterdir()] == ["state.db"]


def test_a_file_that_others_may_read_is_closed_to_them(tmp_path):
    path = tmp_path / "state.db"
    path.touch(0o644)
    SqliteStore(path, Encryption(tmp_path / "store.key"), holder="a").close()
    assert mode(path) == 0o600


def versions(path: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(path)) as connection:
        return tuple(
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("user_version", "application_id")
        )


@pytest.fixture
def old(tmp_path):
    """A file as the first version of the schema left it."""
    path = tmp_path / "state.db"
    shutil.copy(OLD, path)
    return path


def test_the_old_file_is_of_the_first_version():
    assert versions(OLD) == (1, APPLICATION)
    assert VERSION == len(MIGRATIONS) > 1


def test_an_old_file_opens_with_all_it_had(old, tmp_path):
    store = SqliteStore(old, Encryption(tmp_path / "store.key"), holder="b")
    assert versions(old) == (VERSION, APPLICATION)
    found = store.session(OLD_PROJECT)
    assert (found.turns, found.cost_usd, found.usage) == (7, 0.3125, Usage())
    assert store.session(Project("web", "日本/🎉")).cwd == "/srv/work"
    assert store.token().access_token == "week-old-access"
    turn_id, digest = store.find_by_idempotency_key("", "old-key")
    turn = from_record(*store.turn("", turn_id))
    assert (turn.state, turn.done.message, digest) == ("succeeded", "4", "old-digest")
    store.close()


@pytest.fixture
def second(tmp_path):
    """A file of the second version: a token in clear, and what is left of forty before it."""
    path = tmp_path / "state.db"
    shutil.copy(SECOND, path)
    path.chmod(0o600)
    return path


def clear_bytes(path: Path) -> bool:
    beside = path.parent.glob(f"{path.name}*")
    return any(
        word in each.read_bytes() for each in beside for word in (b"-clear-", b'"access_token"')
    )


def test_fault_s10_a_token_in_clear_of_an_earlier_file_is_encrypted_when_it_is_opened(
    second, tmp_path
):
    assert versions(SECOND) == (2, APPLICATION)
    assert clear_bytes(second)
    store = SqliteStore(second, Encryption(tmp_path / "key"), holder="b")
    assert not clear_bytes(second)
    assert store.token().access_token == "week-old-clear-access"
    assert store.token().refresh_token == "week-old-clear-refresh"
    assert store.session(OLD_PROJECT).turns == 7
    assert store.next_message(OLD_PROJECT).tried is True, "nobody knows"
    assert store.requeue_dead_letters("") == 1
    store.put_token(XoToken("fresh-clear-access", None, None, "u", None))
    assert not clear_bytes(second)
    store.close()
    assert not clear_bytes(second)
    assert versions(second) == (VERSION, APPLICATION)


def test_fault_s10_of_several_who_open_such_a_file_at_once_each_has_the_token(second, tmp_path):
    opened = at_once(
        [lambda: SqliteStore(second, Encryption(tmp_path / "key"), holder="b") for _ in range(4)]
    )
    for store in opened:
        assert store.token().access_token == "week-old-clear-access"
        assert store.session(OLD_PROJECT).turns == 7
    assert not clear_bytes(second)
    for store in opened:
        store.close()


def test_a_checkpoint_that_another_ones_stands_in_the_way_of_is_tried_again():
    class Connection:
        def __init__(self):
            self.busy = [1, 1, 0]

        def execute(self, _statement):
            return self

        def fetchone(self):
            return self.busy.pop(0), 0, 0

    connection = Connection()
    _empty_wal(connection)
    assert connection.busy == []


def test_fault_s10_a_store_without_its_key_forgets_the_token_with_a_line_and_nothing_else(
    second, tmp_path, capsys
):
    key = tmp_path / "key"
    store = SqliteStore(second, Encryption(key), holder="b")
    store.close()
    key.unlink()
    store = SqliteStore(second, Encryption(key), holder="b")
    assert [store.token() for _ in range(3)] == [None] * 3
    assert capsys.readouterr().out.count("encrypted with another key") == 1
    assert store.session(OLD_PROJECT).turns == 7
    token = XoToken("access", None, None, "u", None)
    assert store.compare_and_set_token(None, token)
    assert store.token() == token
    store.close()


def test_fault_s10_a_token_that_no_key_can_hide_is_not_left_in_clear(second, tmp_path):
    key = tmp_path / "key"
    key.write_text("none at all")
    store = SqliteStore(second, Encryption(key), holder="b")
    assert not clear_bytes(second)
    assert store.token() is None
    store.close()


NOBODY = pwd.getpwnam("nobody").pw_uid
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.mark.parametrize("end", ["", "-wal", "-shm"])
@pytest.mark.parametrize("how", ["theirs", "writable", "link"])
@as_root
def test_fault_s10_a_file_that_is_not_ours_alone_is_refused_and_left_alone(tmp_path, end, how):
    path = tmp_path / "state.db"
    SqliteStore(path, Encryption(tmp_path / "key"), holder="a").close()
    bad = tmp_path / f"state.db{end}"
    if how == "link":
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        target = elsewhere / "it"
        target.touch(0o600)
        os.chown(target, NOBODY, -1)
        bad.unlink(missing_ok=True)
        bad.symlink_to(target)
    else:
        bad.touch(0o600)
        os.chown(bad, NOBODY if how == "theirs" else 0, -1)
        bad.chmod(0o600 if how == "theirs" else 0o666)
    before = bad.stat()
    with pytest.raises(StoreUnusable, match="not safe"):
        SqliteStore(path, Encryption(tmp_path / "key"), holder="a")
    assert (bad.stat().st_mode, bad.stat().st_size) == (before.st_mode, before.st_size)


@as_root
def test_fault_s10_so_is_a_folder_where_others_can_put_files_in_the_place_of_ours(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(0o700)
    for owner, mode, good in (
        (0, 0o777, False),
        (0, 0o1777, True),
        (0, 0o755, True),
        (NOBODY, 0o700, False),
    ):
        os.chown(folder, owner, -1)
        folder.chmod(mode)
        if good:
            SqliteStore(folder / "x.db", Encryption(tmp_path / "key"), holder="a").close()
        else:
            with pytest.raises(StoreUnusable, match="not safe"):
                SqliteStore(folder / "x.db", Encryption(tmp_path / "key"), holder="a")


@as_root
@pytest.mark.parametrize(
    ("owner", "mode", "folder", "good"),
    [
        (0, 0o600, 0o700, True),
        (0, 0o640, 0o700, False),
        (0, 0o604, 0o700, False),
        (0, 0o602, 0o700, False),
        (NOBODY, 0o600, 0o700, False),
        (0, 0o600, 0o777, False),
    ],
)
def test_fault_s10_a_key_that_others_may_read_or_change_is_refused_at_start(
    tmp_path, owner, mode, folder, good
):
    place = tmp_path / "place"
    place.mkdir()
    key = place / "store.key"
    Encryption(key).encrypt("x")
    os.chown(key, owner, -1)
    key.chmod(mode)
    place.chmod(folder)
    for url in (f"sqlite://{tmp_path}/state.db", "redis://127.0.0.1:1/0"):
        if good:
            open_store(url, outbox_limit=1, key_file=key).close()
        else:
            with pytest.raises(StoreUnusable, match="COWORK_STORE_KEY_FILE"):
                open_store(url, outbox_limit=1, key_file=key)


def test_what_an_old_file_was_in_the_middle_of_is_settled(old, tmp_path):
    store = SqliteStore(old, Encryption(tmp_path / "store.key"), holder="b")
    (dead,) = store.holders()
    assert store.holders()[dead] > 15
    (lost,) = store.release_dead_holder(dead)
    assert from_record(*store.turn("", lost)).error.code == "worker_lost"
    claim = store.claim(OLD_PROJECT)
    assert claim.number > 41
    assert len(waiting(store, OLD_PROJECT)) == 2
    put_message(store, message(1))
    store.move_to_dead_letters(message(1), "why", message(1).created)
    assert len(store.dead_letters("")) == 1
    store.close()


def test_an_old_file_is_migrated_once_by_whoever_comes_first(old, tmp_path):
    first, second = (
        SqliteStore(old, Encryption(tmp_path / "store.key"), holder="a"),
        SqliteStore(old, Encryption(tmp_path / "store.key"), holder="b"),
    )
    assert first.session(OLD_PROJECT) == second.session(OLD_PROJECT)
    first.close()
    second.close()


def test_a_migration_that_breaks_changes_nothing(old, tmp_path, monkeypatch):
    broken = (*MIGRATIONS[:1], "CREATE TABLE half (x); CREATE TABLE sessions (x);")
    monkeypatch.setattr("cowork.stores.sqlite.schema.MIGRATIONS", broken)
    with pytest.raises(StoreUnusable, match="cannot be used"):
        open_file(old, Encryption(tmp_path / "store.key"))
    assert versions(old) == (1, APPLICATION)
    monkeypatch.undo()
    SqliteStore(old, Encryption(tmp_path / "store.key"), holder="a").close()


def test_a_newer_file_is_refused_and_left_alone(old, tmp_path):
    with closing(sqlite3.connect(old)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = old.read_bytes()
    with pytest.raises(StoreUnusable, match="update the server") as caught:
        SqliteStore(old, Encryption(tmp_path / "store.key"), holder="a")
    assert str(old) in str(caught.value)
    assert old.read_bytes() == before


def test_another_programs_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match="another program"):
        SqliteStore(path, Encryption(tmp_path / "store.key"), holder="a")
    assert path.read_bytes() == before


def test_what_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("this is a note, and a long one, which is no database at all\n" * 50)
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match="no database") as caught:
        SqliteStore(path, Encryption(tmp_path / "store.key"), holder="a")
    assert "backup" in str(caught.value)
    assert path.read_bytes() == before


def test_a_damaged_file_is_refused(old, tmp_path):
    size = old.stat().st_size
    with old.open("r+b") as file:
        file.seek(1024)
        file.write(b"\xff" * (size - 2048))
    with pytest.raises(StoreUnusable, match="damaged"):
        SqliteStore(old, Encryption(tmp_path / "store.key"), holder="a")


def test_a_place_where_nothing_can_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnusable, match="cannot be opened"):
        SqliteStore(tmp_path / "file" / "state.db", Encryption(tmp_path / "store.key"), holder="a")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/lib/x/state.db", "/var/lib/x/state.db"),
        ("sqlite:////var/state.db", "//var/state.db"),
        ("sqlite:///a%20b/state.db", "/a b/state.db"),
    ],
)
def test_the_url_names_the_file(url, path):
    assert sqlite_path(url) == Path(path)


def test_the_url_may_begin_at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert sqlite_path("sqlite:///~/x/state.db") == Path("/home/me/x/state.db")


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite://x/y", "sqlite:///", "sqlite:///x/", "sqlite:///x?mode=ro"]
)
def test_a_url_that_names_no_file_is_refused(url):
    with pytest.raises(ValueError, match="sqlite:///path"):
        open_store(url, outbox_limit=1)


# -- a file that cannot be used for a while


def limit_pages(store: SqliteStore, pages: int | None) -> None:
    """A disk with so much room, or with as much as anybody wants."""

    def limit(connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages or 2**30}")

    store._read(limit)


def test_a_full_disk_is_an_unavailable_store_which_recovers(tmp_path):
    store = SqliteStore(tmp_path / "state.db", Encryption(tmp_path / "store.key"), holder="a")
    store.put_turn(record(1), None, None)
    limit_pages(store, 30)
    with pytest.raises(StoreUnavailable, match="full"):
        store.end_turn(ended(record(1), log=b"x" * 1_000_000))
    assert store.turn("", "turn-1") == (record(1), None)
    assert store.turn("", "turn-1") is not None, "what is there can still be read"
    limit_pages(store, None)
    end = ended(record(1), log=b"x" * 100_000)
    assert store.end_turn(end) is True
    assert store.turn("", "turn-1") == (end.record, b"x" * 100_000)
    store.close()


def test_a_file_that_another_process_keeps_locked_costs_a_call_less_than_a_second(tmp_path):
    path = tmp_path / "state.db"
    store = SqliteStore(path, Encryption(tmp_path / "store.key"), holder="a")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            put_message(store, message(1))
        assert store.outbox_counts().waiting == 0, "reading goes on"
        other.execute("ROLLBACK")
    put_message(store, message(1))
    assert store.outbox_counts().waiting == 1
    store.close()


def test_fault_s4_what_waits_in_an_earlier_file_is_counted_and_what_an_earlier_server_puts(
    second, tmp_path
):
    store = SqliteStore(second, Encryption(tmp_path / "key"), holder="b", outbox_bytes=3000)
    assert store.outbox_counts().waiting >= 1
    with closing(sqlite3.connect(second)) as connection:
        (counted,) = connection.execute(
            "SELECT sum(bytes) FROM sizes WHERE place = 'outbox'"
        ).fetchone()
        (there,) = connection.execute(
            "SELECT sum(length(CAST(body AS BLOB))) FROM outbox"
        ).fetchone()
        assert counted == there > 0
        assert not store.outbox_counts().full
        # As a server of the second version does, which still has the file open.
        message = store.next_message(OLD_PROJECT)
        body = message_json(replace(message, message="x" * 3000))
        connection.execute(
            "INSERT OR IGNORE INTO outbox (id, owner, name, body) VALUES ('another', '', 'p', ?)",
            (body,),
        )
        connection.commit()
        assert store.outbox_counts().full
        connection.execute("DELETE FROM outbox WHERE id = 'another'")
        connection.commit()
    assert not store.outbox_counts().full
    store.close()


def test_a_deletion_finds_the_turns_of_an_earlier_version_and_of_its_server_that_still_runs(
    tmp_path,
):
    path = tmp_path / "state.db"
    encryption = Encryption(tmp_path / "key")
    SqliteStore(path, encryption, holder="a").close()
    path.unlink()
    put = (
        "INSERT OR REPLACE INTO turns (id, owner, state, holder, body, ended, forget)"
        " VALUES (?, ?, 'succeeded', 'a', ?, '2026-01-01', 9e9)"
    )

    def row(name, project=P, body=None):
        return name, project.owner, body or record_json(replace(record(1, project), id=name))

    with closing(sqlite3.connect(path, isolation_level=None)) as earlier:
        migrate(earlier, 6)
        earlier.execute(put, row("before"))
        earlier.execute(put, row("others", Project("other", "p")))
        earlier.execute(put, row("broken", body="{"))
        path.chmod(0o600)
        store = SqliteStore(path, encryption, holder="b")
        earlier.execute(put, row("beside"))
        earlier.execute(put, row("beside", Q))
        earlier.execute(put, row("beside"))
    left = kept(store, P)
    assert (versions(path)[0], left.earlier) == (VERSION, ())
    assert store.turn("", "before")
    assert store.turn("", "beside")
    store.delete_session(P)
    assert store.turn("", "before") is store.turn("", "beside") is None
    assert store.turn("other", "others")
    assert store.expire(9) == 0
    assert store.removals() == [left.id]
    store.close()


def test_the_turns_of_an_earlier_version_and_of_its_server_that_still_runs_are_listed(tmp_path):
    path = tmp_path / "state.db"
    put = "INSERT INTO turns (id, owner, name, state, holder, body) VALUES (?, '', 'p', 'running', 'a', ?)"
    with closing(sqlite3.connect(path, isolation_level=None)) as earlier:
        migrate(earlier, 10)
        for number in (2, 1):
            earlier.execute(put, (f"turn-{number}", record_json(made(number))))
        path.chmod(0o600)
        store = SqliteStore(path, Encryption(tmp_path / "key"), holder="b")
        earlier.execute(put, ("turn-3", record_json(made(3))))
    assert versions(path) == (VERSION, APPLICATION)
    assert listed(store) == ["turn-3", "turn-2", "turn-1"]
    store.close()


def test_turns_are_counted_in_a_file_of_the_version_that_counted_none(tmp_path):
    path = tmp_path / "state.db"
    encryption = Encryption(tmp_path / "key")
    with closing(sqlite3.connect(path, isolation_level=None)) as earlier:
        migrate(earlier, 8)
        earlier.execute(
            "INSERT INTO turns (id, owner, name, state, holder, body) VALUES (?, ?, ?, ?, ?, ?)",
            ("turn-1", "", "p", "running", "a", record_json(record())),
        )
        earlier.execute(
            "INSERT INTO sessions (owner, name, id, cwd, created, last_used, turns, cost_usd)"
            " VALUES ('', 'p', 'id', '/work', '2026-01-01', '2026-01-01', 7, 0.5)"
        )
    path.chmod(0o600)
    store = SqliteStore(path, encryption, holder="a")
    assert versions(path) == (VERSION, APPLICATION)
    assert usage(store, days=400) == []
    assert (store.session(P).turns, store.session(P).cost_usd) == (7, 0.5)
    end = spends(1, BIG)
    store.end_turn(replace(end, record=replace(end.record, id="turn-1")))
    store.end_turn(replace(end, record=replace(end.record, id="turn-1")))
    assert [row.turns for row in usage(store, UsageBy.PROJECT)] == [1]
    assert store.turn("", "turn-1")[0].state == "succeeded"
    store.close()
    again = SqliteStore(path, encryption, holder="b")
    assert [row.turns for row in usage(again)] == [1]
    again.close()


def test_of_what_was_spent_long_ago_a_part_is_forgotten_at_a_time(tmp_path):
    store = SqliteStore(tmp_path / "state.db", Encryption(tmp_path / "key"), holder="a")
    for number in range(5):
        at = datetime.now(UTC) - timedelta(days=1000 + number)
        store.end_turn(spends(number, BIG, project=Project("", f"p{number}"), at=at))
    left = []
    while not left or left[-1]:
        assert store.expire(2) == 0
        left.append(len(usage(store, UsageBy.PROJECT, days=2000)))
    assert left == [3, 1, 0]
    store.close()
