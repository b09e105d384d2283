"""The file of the SQLite store: opened, checked, brought up to date, or refused in clear words."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cowork.errors import StoreUnavailable
from cowork.log import logger
from cowork.stores.encryption import Encryption, check_file, check_folder
from cowork.stores.protocol import StoreUnusable

log = logger(__name__)

# In the file's head, so that another program's file is not taken for ours: "xoCo".
APPLICATION = 0x786F436F
BUSY_MS = 250
# What may take longer, when the file is opened.
_PATIENCE_MS = 10_000
_BESIDE = ("-wal", "-shm", "-journal")
# The first version whose token is encrypted.
ENCRYPTED = 3
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
    # From here on `token` holds what `stores/encryption.py` has encrypted.
    """
    ALTER TABLE outbox ADD COLUMN tried INTEGER NOT NULL DEFAULT 1;
    """,
    # By triggers, so that a server of an earlier version which has the file open counts too.
    """
    CREATE TABLE sizes (place TEXT PRIMARY KEY, bytes INTEGER NOT NULL);
    INSERT INTO sizes SELECT 'outbox', coalesce(sum(length(CAST(body AS BLOB))), 0) FROM outbox;
    INSERT INTO sizes SELECT 'dead', coalesce(sum(length(CAST(body AS BLOB))), 0) FROM dead_letters;
    CREATE TRIGGER outbox_grows AFTER INSERT ON outbox BEGIN
        UPDATE sizes SET bytes = bytes + length(CAST(NEW.body AS BLOB)) WHERE place = 'outbox';
    END;
    CREATE TRIGGER outbox_shrinks AFTER DELETE ON outbox BEGIN
        UPDATE sizes SET bytes = bytes - length(CAST(OLD.body AS BLOB)) WHERE place = 'outbox';
    END;
    CREATE TRIGGER dead_grow AFTER INSERT ON dead_letters BEGIN
        UPDATE sizes SET bytes = bytes + length(CAST(NEW.body AS BLOB)) WHERE place = 'dead';
    END;
    CREATE TRIGGER dead_shrink AFTER DELETE ON dead_letters BEGIN
        UPDATE sizes SET bytes = bytes - length(CAST(OLD.body AS BLOB)) WHERE place = 'dead';
    END;
    """,
    """
    ALTER TABLE sessions ADD COLUMN incomplete INTEGER NOT NULL DEFAULT 0;
    """,
    # Each owner's.  No upsert: within a trigger the statement that fires it says what a conflict
    # does.
    """
    DROP TRIGGER outbox_grows; DROP TRIGGER outbox_shrinks;
    DROP TRIGGER dead_grow; DROP TRIGGER dead_shrink;
    DROP TABLE sizes;
    CREATE TABLE sizes (
        place TEXT NOT NULL, owner TEXT NOT NULL, count INTEGER NOT NULL, bytes INTEGER NOT NULL,
        PRIMARY KEY (place, owner)
    );
    INSERT INTO sizes
        SELECT 'outbox', owner, count(*), sum(length(CAST(body AS BLOB))) FROM outbox
        GROUP BY owner;
    INSERT INTO sizes
        SELECT 'dead', owner, count(*), sum(length(CAST(body AS BLOB))) FROM dead_letters
        GROUP BY owner;
    CREATE TRIGGER outbox_grows AFTER INSERT ON outbox BEGIN
        INSERT INTO sizes SELECT 'outbox', NEW.owner, 0, 0 WHERE NOT EXISTS (
            SELECT 1 FROM sizes WHERE place = 'outbox' AND owner = NEW.owner
        );
        UPDATE sizes SET count = count + 1, bytes = bytes + length(CAST(NEW.body AS BLOB))
            WHERE place = 'outbox' AND owner = NEW.owner;
    END;
    CREATE TRIGGER outbox_shrinks AFTER DELETE ON outbox BEGIN
        UPDATE sizes SET count = count - 1, bytes = bytes - length(CAST(OLD.body AS BLOB))
            WHERE place = 'outbox' AND owner = OLD.owner;
        DELETE FROM sizes WHERE place = 'outbox' AND owner = OLD.owner AND count = 0;
    END;
    CREATE TRIGGER dead_grow AFTER INSERT ON dead_letters BEGIN
        INSERT INTO sizes SELECT 'dead', NEW.owner, 0, 0 WHERE NOT EXISTS (
            SELECT 1 FROM sizes WHERE place = 'dead' AND owner = NEW.owner
        );
        UPDATE sizes SET count = count + 1, bytes = bytes + length(CAST(NEW.body AS BLOB))
            WHERE place = 'dead' AND owner = NEW.owner;
    END;
    CREATE TRIGGER dead_shrink AFTER DELETE ON dead_letters BEGIN
        UPDATE sizes SET count = count - 1, bytes = bytes - length(CAST(OLD.body AS BLOB))
            WHERE place = 'dead' AND owner = OLD.owner;
        DELETE FROM sizes WHERE place = 'dead' AND owner = OLD.owner AND count = 0;
    END;
    """,
    # A turn's project, so that a deletion finds its turns.  A trigger writes it for a server of an
    # earlier version which has the file open.
    """
    ALTER TABLE sessions ADD COLUMN earlier TEXT NOT NULL DEFAULT '[]';
    CREATE TABLE removals (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE);
    ALTER TABLE turns ADD COLUMN name TEXT;
    UPDATE turns SET name = json_extract(body, '$.project.name') WHERE json_valid(body);
    CREATE INDEX turns_project ON turns (owner, name);
    CREATE TRIGGER turns_named AFTER INSERT ON turns WHEN NEW.name IS NULL BEGIN
        UPDATE turns SET name = json_extract(body, '$.project.name')
            WHERE id = NEW.id AND json_valid(body);
    END;
    """,
    # Of those of a turn that is gone, nothing is left: no upsert and no REPLACE fires it.
    """
    CREATE TABLE tickets (
        turn TEXT NOT NULL, digest TEXT NOT NULL, owner TEXT NOT NULL, fingerprint TEXT NOT NULL,
        until REAL, PRIMARY KEY (turn, digest)
    );
    CREATE TRIGGER turns_tickets AFTER DELETE ON turns BEGIN
        DELETE FROM tickets WHERE turn = OLD.id;
    END;
    """,
    # `parks`: a turn that outlives the process that runs it.  A server of an earlier version that
    # has the file open ends it as lost, and nothing runs.
    """
    ALTER TABLE sessions ADD COLUMN model TEXT;
    ALTER TABLE sessions ADD COLUMN context_tokens INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN context_limit INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE titles (
        owner TEXT NOT NULL, name TEXT NOT NULL, title TEXT NOT NULL, PRIMARY KEY (owner, name)
    );
    CREATE TRIGGER sessions_titles AFTER DELETE ON sessions BEGIN
        DELETE FROM titles WHERE owner = OLD.owner AND name = OLD.name;
    END;
    ALTER TABLE turns ADD COLUMN parks INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE approvals (
        place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL,
        body TEXT NOT NULL, resolution TEXT, answer TEXT, applied TEXT, forget REAL
    );
    CREATE INDEX approvals_waiting ON approvals (place) WHERE resolution IS NULL;
    CREATE INDEX approvals_forget ON approvals (forget) WHERE forget IS NOT NULL;
    """,
    """
    CREATE TABLE usage (
        day TEXT NOT NULL, owner TEXT NOT NULL, name TEXT NOT NULL, model TEXT NOT NULL,
        turns INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
        cache_read_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL,
        cost_usd REAL NOT NULL, PRIMARY KEY (day, owner, name, model)
    ) WITHOUT ROWID;
    """,
    # When a turn was created, for the list of a project's.  A trigger writes it for a server of an
    # earlier version which has the file open.
    """
    ALTER TABLE turns ADD COLUMN created TEXT;
    UPDATE turns SET created = json_extract(body, '$.created') WHERE json_valid(body);
    CREATE INDEX turns_created ON turns (owner, name, created, id);
    DROP INDEX turns_project;
    CREATE TRIGGER turns_dated AFTER INSERT ON turns WHEN NEW.created IS NULL BEGIN
        UPDATE turns SET created = json_extract(body, '$.created')
            WHERE id = NEW.id AND json_valid(body);
    END;
    """,
    """
    ALTER TABLE sessions ADD COLUMN last_words TEXT NOT NULL DEFAULT '';
    """,
    # A trigger, so that a server of an earlier version which deletes a session leaves none.
    """
    ALTER TABLE sessions ADD COLUMN last_turn TEXT NOT NULL DEFAULT '';
    CREATE TABLE nodes (
        owner TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL, session TEXT NOT NULL,
        cwd TEXT NOT NULL, turn TEXT NOT NULL, used REAL NOT NULL, PRIMARY KEY (owner, key)
    ) WITHOUT ROWID;
    CREATE INDEX nodes_turn ON nodes (owner, turn);
    CREATE INDEX nodes_project ON nodes (owner, name);
    CREATE INDEX nodes_used ON nodes (used);
    CREATE TRIGGER sessions_nodes AFTER DELETE ON sessions BEGIN
        DELETE FROM nodes WHERE owner = OLD.owner AND name = OLD.name;
    END;
    """,
)
VERSION = len(MIGRATIONS)


def open_file(path: Path, encryption: Encryption) -> sqlite3.Connection:
    """A connection to the file, made if it is absent, of the newest version; for its owner alone.

    A token that an earlier version left in clear is encrypted by `encryption`.

    In autocommit mode, for use in any one thread.  Raises `StoreUnusable`; never deletes anything.
    """
    try:
        _make(path)
        connection = sqlite3.connect(
            path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False
        )
    except ValueError as fault:
        raise StoreUnusable(f"the store's file is not safe: {fault}") from fault
    except (OSError, sqlite3.Error) as fault:
        raise StoreUnusable(f"the store's file {path} cannot be opened: {fault}") from fault
    try:
        _prepare(connection, path, encryption)
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: Path) -> None:
    """The file and its directory, for us alone; SQLite gives its other files the same mode."""
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = path.resolve()
    check_folder(path.parent)
    for each in (path, *(path.with_name(path.name + end) for end in _BESIDE)):
        check_file(each)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(handle, 0o600)
    finally:
        os.close(handle)


def is_clear(body: str) -> bool:
    """Whether the token's row holds JSON, as up to version 2, and nothing encrypted."""
    return body.startswith("{")


def _prepare(connection: sqlite3.Connection, path: Path, encryption: Encryption) -> None:
    try:
        # Another process may be bringing it up to date just now.
        connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
        version = _checked(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_SIZE}")
        _encrypt_clear_token(connection, encryption)
        if version < VERSION:
            migrate(connection, VERSION)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    except sqlite3.DatabaseError as fault:
        if isinstance(fault, sqlite3.OperationalError):
            raise StoreUnusable(f"the store's file {path} cannot be used: {fault}") from fault
        raise StoreUnusable(
            f"the store's file {path} is damaged or no database of ours ({fault}): put a backup in "
            "its place, or move it away to begin with an empty one"
        ) from fault


def _encrypt_clear_token(connection: sqlite3.Connection, encryption: Encryption) -> None:
    """Encrypt a token of an earlier version, and have none of its bytes left in the files.

    Also those of earlier tokens, which are in pages that nothing refers to any more.  Before the
    migration, so that a file that was not cleaned is still of the version that has to be.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not version:
        return
    row = connection.execute("SELECT body FROM token").fetchone()
    clear = row is not None and is_clear(row[0])
    if version >= ENCRYPTED and not clear:
        return
    if clear:
        try:
            body = encryption.encrypt(row[0]).decode()
            connection.execute("UPDATE token SET body = ? WHERE body = ?", (body, row[0]))
        except StoreUnavailable as fault:
            log.warning("the stored token is forgotten", why=fault.message)
            connection.execute("DELETE FROM token WHERE body = ?", row)
    connection.execute("VACUUM")
    _empty_wal(connection)


def _empty_wal(connection: sqlite3.Connection) -> None:
    """Write the log back into the file and cut it to nothing, as soon as nobody else reads it.

    SQLite waits for readers by itself, but not for another's checkpoint.
    """
    deadline = time.monotonic() + _PATIENCE_MS / 1000
    while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        if time.monotonic() > deadline:
            raise sqlite3.OperationalError("another process reads it")
        time.sleep(0.01)


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


def _statements(script: str) -> Iterator[str]:
    """The script's statements, each closed by its semicolon; a trigger has some within."""
    begun = ""
    for part in script.split(";")[:-1]:
        begun += f"{part};"
        if sqlite3.complete_statement(begun):
            yield begun
            begun = ""


def migrate(connection: sqlite3.Connection, to: int) -> None:
    """Bring the file to version `to`, all of it or nothing; another process may be at it too."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for script in MIGRATIONS[version:to]:
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {max(version, to)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
