"""A SQLite store as a file: copied while a server writes to it, and made ready for another one."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from urllib.parse import quote

from cowork.operations.errors import OperationFailed
from cowork.stores import open_store
from cowork.stores.protocol import StoreUnusable
from cowork.stores.sqlite.schema import APPLICATION, VERSION

# Tables whose rows name the directory of a session.
_WITH_DIRECTORIES = ("sessions", "nodes")
_COUNTED = ("sessions", "turns", "outbox", "dead_letters", "approvals", "usage", "token")
# Another process may be writing its log back.
_PATIENCE_S = 30.0
# Only the releases of holders are done with it, which put nothing new into the outbox's bounds.
_OUTBOX_LIMIT = 10**7


@dataclass(frozen=True, slots=True)
class KeptSession:
    """A session as its store names it: the CLI's id and those given up for it, its directory."""

    ids: tuple[str, ...]
    cwd: str


@dataclass(frozen=True, slots=True)
class StoreFile:
    """What is in a store's file: its schema's version, rows by table, and its sessions."""

    version: int
    counts: dict[str, int]
    sessions: tuple[KeptSession, ...]


def copy(source: Path, target: Path) -> StoreFile:
    """Copy a store as it is at one moment, whoever writes to it; what the copy holds.

    By SQLite's own online backup, in one read transaction: writers go on, and every turn that was
    recorded before is in the copy.  A copy of the file itself lacks what is in the log beside it.
    Raises `OperationFailed`.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(_read_only(source)) as old, closing(sqlite3.connect(target)) as new:
            _check(old, source)
            old.backup(new)
            # One file: what reads the copy makes none beside it.
            new.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as fault:
        raise OperationFailed(f"the store {source} cannot be copied: {fault}") from fault
    return look_at(target)


def look_at(path: Path) -> StoreFile:
    """What is in a store's file that is whole; raises `OperationFailed`."""
    try:
        with closing(_read_only(path)) as connection:
            version = _check(connection, path)
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if said != "ok":
                raise OperationFailed(f"the store {path} is damaged: {said}")
            return StoreFile(version, _counts(connection), tuple(_sessions(connection)))
    except sqlite3.Error as fault:
        raise OperationFailed(f"the store {path} cannot be read: {fault}") from fault


def prepare(path: Path, key_file: Path, moved: Iterable[tuple[str, str]]) -> None:
    """Make a copy ready for a new server: no turn runs in it, and nobody holds a project.

    `moved` are folders that are elsewhere now, with their new place.  The file comes to the newest
    version.  Raises `OperationFailed`.
    """
    try:
        store = open_store(
            f"sqlite://{quote(str(path))}",
            outbox_limit=_OUTBOX_LIMIT,
            holder="restore",
            key_file=key_file,
        )
        try:
            for holder in store.holders():
                store.release_dead_holder(holder)
        finally:
            store.close()
        with closing(sqlite3.connect(path, timeout=_PATIENCE_S)) as connection, connection:
            for (old, new), table in product(moved, _WITH_DIRECTORIES):
                connection.execute(
                    f"UPDATE {table} SET cwd = ? || substr(cwd, ?)"  # noqa: S608 - constants
                    " WHERE cwd = ? OR substr(cwd, 1, ?) = ?",
                    (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
                )
    except (StoreUnusable, sqlite3.Error) as fault:
        raise OperationFailed(f"the store of the backup cannot be used: {fault}") from fault


def _read_only(path: Path) -> sqlite3.Connection:
    # A file that is not there is not made.
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_PATIENCE_S)


def _check(connection: sqlite3.Connection, path: Path) -> int:
    """The file's version; raises where it is not ours, or newer than we know."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise OperationFailed(f"{path} is no store of this server")
    if version > VERSION:
        raise OperationFailed(
            f"the store {path} is of version {version}, this program knows {VERSION}: use the one "
            "of the server that made it, or a newer one"
        )
    return int(version)


def _counts(connection: sqlite3.Connection) -> dict[str, int]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    there = {name for (name,) in rows}
    return {
        # Constants of this module.
        name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608
        for name in _COUNTED
        if name in there
    }


def _sessions(connection: sqlite3.Connection) -> list[KeptSession]:
    cursor = connection.execute("SELECT * FROM sessions")
    names = [column[0] for column in cursor.description]
    found = []
    for row in cursor:
        fields = dict(zip(names, row, strict=True))
        # Earlier versions of the store have no ids of sessions that were given up.
        ids = (fields["id"], *json.loads(fields.get("earlier", "[]")))
        found.append(KeptSession(ids, fields["cwd"]))
    return found
