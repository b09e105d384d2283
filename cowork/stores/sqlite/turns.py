"""The SQLite store's part for turns and what was said; each takes part in a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime

from cowork.model import (
    APPROVALS_LIMIT,
    ChatMessage,
    Exchange,
    Project,
    TurnFilter,
    TurnKey,
    TurnPage,
    TurnPlace,
    TurnRecord,
)
from cowork.stores.limits import TURN_PAGE_BYTES, remembered
from cowork.stores.serialization import (
    exchanges_json,
    exchanges_of,
    message_json,
    message_of,
    record_json,
    record_of,
)
from cowork.stores.sqlite import outbox


def put(
    connection: sqlite3.Connection,
    record: TurnRecord,
    question: ChatMessage | None,
    key: TurnKey | None,
) -> tuple[str, str] | None:
    if key is not None:
        known = find_by_idempotency_key(connection, key.owner, key.key)
        if known is not None:
            return known
        connection.execute(
            "INSERT INTO keys (owner, key, turn, digest) VALUES (?, ?, ?, ?)",
            (key.owner, key.key, record.id, key.digest),
        )
    waits = question if record.state == "queued" else None
    # One that has ended meanwhile, stopped while it waited, is not brought back.
    connection.execute(
        "INSERT OR IGNORE INTO turns (id, owner, name, created, state, holder, body, question)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.id,
            record.project.owner,
            record.project.name,
            record.created.isoformat(),
            record.state,
            record.holder,
            record_json(record),
            None if waits is None else message_json(waits),
        ),
    )
    if question is not None and waits is None:
        outbox.put(connection, [question])
    return None


def start(connection: sqlite3.Connection, record: TurnRecord, question: ChatMessage | None) -> bool:
    found = connection.execute(
        "UPDATE turns SET state = ?, body = ?, question = NULL WHERE id = ? AND ended IS NULL",
        (record.state, record_json(record), record.id),
    )
    if question is not None:
        outbox.put(connection, [question])
    return found.rowcount > 0


def end(
    connection: sqlite3.Connection,
    record: TurnRecord,
    log: bytes | None,
    forget: float,
) -> bool:
    """Whether this is news; a turn that only seemed lost has its true end after all."""
    row = connection.execute(
        "SELECT ended, holder FROM turns WHERE id = ?", (record.id,)
    ).fetchone()
    if row is not None and row[1] and (row[0] is not None or row[1] != record.holder):
        return False  # or somebody else has adopted it
    connection.execute(
        "INSERT OR REPLACE INTO turns"
        " (id, owner, name, created, state, holder, body, log, ended, forget)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.id,
            record.project.owner,
            record.project.name,
            record.created.isoformat(),
            record.state,
            record.holder,
            record_json(record),
            log,
            None if record.ended is None else record.ended.isoformat(),
            forget,
        ),
    )
    return True


def give_key_back(connection: sqlite3.Connection, turn_id: str) -> None:
    connection.execute("DELETE FROM keys WHERE turn = ?", (turn_id,))


def find(
    connection: sqlite3.Connection, owner: str, turn_id: str
) -> tuple[TurnRecord, bytes | None] | None:
    row = connection.execute(
        "SELECT body, log, state, ended, holder FROM turns WHERE id = ? AND owner = ?",
        (turn_id, owner),
    ).fetchone()
    if row is None:
        return None
    body, log, state, ended, holder = row
    return _record_of(body, state, ended, holder), log


def _record_of(body: str, state: str, ended: str | None, holder: str) -> TurnRecord:
    # Of one that was lost its own holder is kept in the record.
    adopted = {"holder": holder} if ended is None else {}
    return record_of(body, {"state": state, "ended": ended, **adopted})


def page(connection: sqlite3.Connection, project: Project, wanted: TurnFilter) -> TurnPage:
    condition, values = "owner = ? AND name = ?", [project.owner, project.name]
    if wanted.before is not None:
        condition += " AND (created, id) < (?, ?)"
        values += [wanted.before.created.isoformat(), wanted.before.id]
    if wanted.state is not None:
        condition += " AND state = ?"
        values.append(wanted.state)
    if wanted.ended_since is not None:
        condition += " AND (ended IS NULL OR ended >= ?)"
        values.append(wanted.ended_since.isoformat())
    found: list[TurnRecord] = []
    size = 0
    with closing(
        connection.execute(
            "SELECT body, state, ended, holder FROM turns"  # noqa: S608 - made of constants
            f" WHERE {condition} ORDER BY created DESC, id DESC LIMIT ?",
            [*values, wanted.limit + 1],
        )
    ) as rows:
        for row in rows:  # each is read when it is its turn
            if len(found) == wanted.limit or size > TURN_PAGE_BYTES:
                return TurnPage(tuple(found), TurnPlace(found[-1].created, found[-1].id))
            found.append(_record_of(*row))
            size += len(row[0])
    return TurnPage(tuple(found))


def find_by_idempotency_key(
    connection: sqlite3.Connection, owner: str, key: str
) -> tuple[str, str] | None:
    row = connection.execute(
        "SELECT turn, digest FROM keys WHERE owner = ? AND key = ?", (owner, key)
    ).fetchone()
    return None if row is None else (row[0], row[1])


def bind_key(connection: sqlite3.Connection, key: TurnKey, turn_id: str, *, replaces: bool) -> None:
    known = "REPLACE" if replaces else "IGNORE"
    connection.execute(
        f"INSERT OR {known} INTO keys (owner, key, turn, digest) VALUES (?, ?, ?, ?)",  # noqa: S608 - one of two words
        (key.owner, key.key, turn_id, key.digest),
    )


def save(
    connection: sqlite3.Connection,
    record: TurnRecord,
    log: bytes | None,
    holder: str,
    *,
    parks: bool,
) -> None:
    connection.execute(
        "UPDATE turns SET state = ?, holder = ?, body = ?, log = ?, parks = ?"
        " WHERE id = ? AND ended IS NULL AND holder = ?",
        (record.state, record.holder, record_json(record), log, parks, record.id, holder),
    )


def parked(connection: sqlite3.Connection) -> list[TurnRecord]:
    rows = connection.execute(
        "SELECT body, state FROM turns WHERE holder = '' AND ended IS NULL ORDER BY rowid LIMIT ?",
        (APPROVALS_LIMIT,),
    )
    return [record_of(body, {"state": state, "ended": None}) for body, state in rows]


def adopt(
    connection: sqlite3.Connection, owner: str, turn_id: str, holder: str
) -> tuple[TurnRecord, bytes | None] | None:
    found = connection.execute(
        "UPDATE turns SET holder = ? WHERE id = ? AND owner = ? AND holder = '' AND ended IS NULL",
        (holder, turn_id, owner),
    )
    return find(connection, owner, turn_id) if found.rowcount else None


def lose(connection: sqlite3.Connection, holder: str, forget: float) -> list[str]:
    """End the turns of a holder that is gone; questions that waited with them become messages.

    Those that park are nobody's from now on.  Of one that waited the key is given back.
    """
    connection.execute(
        "UPDATE turns SET holder = '' WHERE holder = ? AND parks AND ended IS NULL", (holder,)
    )
    rows = connection.execute(
        "SELECT id, question FROM turns WHERE holder = ? AND ended IS NULL ORDER BY rowid",
        (holder,),
    ).fetchall()
    connection.execute(
        "DELETE FROM keys WHERE turn IN"
        " (SELECT id FROM turns WHERE holder = ? AND ended IS NULL AND state = 'queued')",
        (holder,),
    )
    outbox.put(connection, [message_of(question) for _, question in rows if question is not None])
    connection.execute(
        # Nobody holds it any more: that tells it from one that was seen to end.
        "UPDATE turns SET state = 'failed', ended = ?, question = NULL, holder = '', forget = ?"
        " WHERE holder = ? AND ended IS NULL",
        (datetime.now(UTC).isoformat(), forget, holder),
    )
    return [row[0] for row in rows]


def forget(connection: sqlite3.Connection, project: Project) -> None:
    """Remove the project's turns that have ended, and their keys."""
    found = connection.execute(
        "SELECT id FROM turns WHERE owner = ? AND name = ? AND ended IS NOT NULL",
        (project.owner, project.name),
    ).fetchall()
    _remove(connection, found)


def expire(connection: sqlite3.Connection, now: float, limit: int) -> int:
    found = connection.execute(
        "SELECT id FROM turns WHERE forget <= ? LIMIT ?", (now, limit)
    ).fetchall()
    _remove(connection, found)
    return len(found)


def _remove(connection: sqlite3.Connection, turns: Sequence[tuple[str]]) -> None:
    connection.executemany("DELETE FROM keys WHERE turn = ?", turns)
    connection.executemany("DELETE FROM turns WHERE id = ?", turns)


def history(connection: sqlite3.Connection, project: Project) -> list[Exchange]:
    row = connection.execute(
        "SELECT body FROM history WHERE owner = ? AND name = ?", (project.owner, project.name)
    ).fetchone()
    return [] if row is None else exchanges_of(row[0])


def remember(connection: sqlite3.Connection, project: Project, exchange: Exchange) -> None:
    body = exchanges_json(remembered(history(connection, project), exchange))
    connection.execute(
        "INSERT OR REPLACE INTO history (owner, name, body) VALUES (?, ?, ?)",
        (project.owner, project.name, body),
    )


def forget_history(connection: sqlite3.Connection, project: Project) -> None:
    connection.execute(
        "DELETE FROM history WHERE owner = ? AND name = ?", (project.owner, project.name)
    )
