"""The file of the SQLite store: opened, checked, brought up to date, or refused in clear words."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from cowork.stores.base import StoreUnusable

# In the file's head, so that another program's file is not taken for ours: "xoCo".
APPLICATION = 0x786F436F
BUSY_MS = 250
# Of a log that has grown; it shrinks to this when it is written back, bytes.
_WAL_SIZE = 16 * 2**20

# Script n brings a file from version n to n + 1; a published one is never changed.
MIGRATIONS = (
    """
    CREATE TABLE sessions (
        place INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, name TEXT NOT NULL,
        id TEXT NOT NULL, cwd TEXT NOT NULL, created TEXT NOT NULL, last_used TEXT NOT NULL,
        turns INTEGER NOT NULL, cost_usd REAL NOT NULL, UNIQUE (owner, name)
    );
    CREATE TABLE claims (
        owner TEXT NOT NULL, name TEXT NOT NULL, holder TEXT NOT NULL,
        given INTEGER NOT NULL, newest INTEGER NOT NULL, until REAL NOT NULL,
        PRIMARY KEY (owner, name)
    );
    CREATE TABLE numbers (number INTEGER PRIMARY KEY AUTOINCREMENT);
    CREATE TABLE token (body TEXT NOT NULL);
    CREATE TABLE turns (
        id TEXT PRIMARY KEY, owner TEXT NOT NULL, state TEXT NOT NULL, holder TEXT NOT NULL,
        body TEXT NOT NULL, question TEXT, log BLOB, ended TEXT, forget REAL
    );
    CREATE INDEX turns_open ON turns (holder) WHERE ended IS NULL;
    CREATE INDEX turns_forget ON turns (forget) WHERE forget IS NOT NULL;
    CREATE TABLE keys (
        owner TEXT NOT NULL, key TEXT NOT NULL, turn TEXT NOT NULL, digest TEXT NOT NULL,
        PRIMARY KEY (owner, key)
    );
    CREATE INDEX keys_turn ON keys (turn);
    CREATE TABLE holders (holder TEXT PRIMARY KEY, beat REAL NOT NULL);
    CREATE TABLE outbox (
        place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL
    );
    CREATE INDEX outbox_project ON outbox (owner, name, place);
    """,
    """
    ALTER TABLE sessions ADD COLUMN input_tokens INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN output_tokens INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN cache_read_tokens INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN cache_write_tokens INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE dead_letters (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, place INTEGER NOT NULL,
        owner TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
        why TEXT NOT NULL, died TEXT NOT NULL
    );
    CREATE TABLE relay (holder TEXT NOT NULL, until REAL NOT NULL);
    CREATE TABLE history (
        owner TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (owner, name)
    );
    """,
)
VERSION = len(MIGRATIONS)


def open_file(path: Path) -> sqlite3.Connection:
    """A connection to the file, made if it is absent, of the newest version; for its owner alone.

    In autocommit mode, for use in any one thread.  Raises `StoreUnusable`; never deletes anything.
    """
    try:
        _make(path)
        connection = sqlite3.connect(
            path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False
        )
    except (OSError, sqlite3.Error) as fault:
        raise StoreUnusable(f"the store's file {path} cannot be opened: {fault}") from fault
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: Path) -> None:
    """The file and its directory, for us alone; SQLite gives its other files the same mode."""
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.fstat(handle).st_uid == os.geteuid():
            os.fchmod(handle, 0o600)
    finally:
        os.close(handle)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    try:
        version = _checked(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_SIZE}")
        if version < VERSION:
            migrate(connection, VERSION)
    except sqlite3.DatabaseError as fault:
        if isinstance(fault, sqlite3.OperationalError):
            raise StoreUnusable(f"the store's file {path} cannot be used: {fault}") from fault
        raise StoreUnusable(
            f"the store's file {path} is damaged or no database of ours ({fault}): put a backup in "
            "its place, or move it away to begin with an empty one"
        ) from fault


def _checked(connection: sqlite3.Connection, path: Path) -> int:
    """The version of the file; raises where it is not ours, newer than we know, or damaged."""
    version, application, pages = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("user_version", "application_id", "schema_version")
    )
    if application != APPLICATION and (application or version or pages):
        raise StoreUnusable(f"{path} belongs to another program: name another file in COWORK_STORE")
    if version > VERSION:
        raise StoreUnusable(
            f"the store's file {path} is of version {version}, this server knows {VERSION}: "
            "update the server, or name another file in COWORK_STORE"
        )
    with closing(connection.execute("PRAGMA quick_check(1)")) as found:
        (said,) = found.fetchone()
    if said != "ok":
        raise sqlite3.DatabaseError(said)
    return int(version)


def migrate(connection: sqlite3.Connection, to: int) -> None:
    """Bring the file to version `to`, all of it or nothing; another process may be at it too."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for script in MIGRATIONS[version:to]:
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {max(version, to)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
