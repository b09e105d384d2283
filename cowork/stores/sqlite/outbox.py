"""The SQLite store's part for chat messages on their way; functions are within a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import datetime

from cowork.log import logger
from cowork.model import ChatMessage, DeadLetter, OutboxCounts, Project
from cowork.stores.limits import DEAD_LIMIT, DEAD_SHARE, OutboxBounds
from cowork.stores.serialization import letter_of, message_json, message_of
from cowork.stores.sqlite.executor import Transactions

log = logger(__name__)


class BoundedOutbox:
    """What of the outbox has bounds; each method is a transaction or two."""

    def __init__(self, transactions: Transactions, bounds: OutboxBounds) -> None:
        self._transactions = transactions
        self._bounds = bounds
        self._dropped = 0
        # The message that has waited longest when last counted, and when it was made.
        self._oldest: tuple[str, datetime] | None = None

    def is_full(self, connection: sqlite3.Connection, owner: str | None = None) -> bool:
        """Whether no further question is taken; within a transaction."""
        return self._bounds.are_reached(held(connection, "outbox"), owner)

    def counts(self) -> OutboxCounts:
        known = self._oldest
        waiting, first, dead = self._transactions.read(
            lambda connection: _counts(connection, known)
        )
        self._oldest = first
        full = self._transactions.read(self.is_full)
        oldest = None if first is None else first[1]
        return OutboxCounts(waiting, oldest, dead, dropped=self._dropped, full=full)

    def move_to_dead_letters(self, message: ChatMessage, why: str, died: datetime) -> None:
        most_bytes = self._bounds.most_bytes // DEAD_SHARE
        dropped = self._transactions.write(
            lambda connection: _move_to_dead_letters(connection, message.id, why, died, most_bytes),
            sync=True,
        )
        if dropped:
            self._dropped += len(dropped)
            log.warning("too many dead letters, oldest dropped", message_id=dropped[0])


def put(connection: sqlite3.Connection, messages: Iterable[ChatMessage]) -> None:
    """Append; one that waits already is not put a second time."""
    connection.executemany(
        "INSERT OR IGNORE INTO outbox (id, owner, name, body, tried) VALUES (?, ?, ?, ?, 0)",
        [(each.id, each.project.owner, each.project.name, message_json(each)) for each in messages],
    )


def projects(connection: sqlite3.Connection, limit: int) -> list[Project]:
    rows = connection.execute(
        "SELECT owner, name FROM outbox GROUP BY owner, name ORDER BY min(place) LIMIT ?", (limit,)
    )
    return [Project(*row) for row in rows]


def first(connection: sqlite3.Connection, project: Project) -> ChatMessage | None:
    row = connection.execute(
        "SELECT body, tried FROM outbox WHERE owner = ? AND name = ? ORDER BY place LIMIT 1",
        (project.owner, project.name),
    ).fetchone()
    return None if row is None else message_of(row[0], tried=bool(row[1]))


def note_try(connection: sqlite3.Connection, message_id: str, *, tried: bool) -> None:
    connection.execute("UPDATE outbox SET tried = ? WHERE id = ?", (int(tried), message_id))


def delete(connection: sqlite3.Connection, message_id: str) -> None:
    connection.execute("DELETE FROM outbox WHERE id = ?", (message_id,))


def _counts(
    connection: sqlite3.Connection, known: tuple[str, datetime] | None
) -> tuple[int, tuple[str, datetime] | None, int]:
    """How many wait, which has waited longest and when it was made, and how many are dead.

    `known` is what was found last: whoever asks for readiness has no large message read again.
    """
    (waiting,) = connection.execute("SELECT count(*) FROM outbox").fetchone()
    (dead,) = connection.execute("SELECT count(*) FROM dead_letters").fetchone()
    row = connection.execute("SELECT id FROM outbox ORDER BY place LIMIT 1").fetchone()
    if row is None or (known is not None and known[0] == row[0]):
        return waiting, known if row is not None else None, dead
    (body,) = connection.execute("SELECT body FROM outbox WHERE id = ?", row).fetchone()
    return waiting, (row[0], message_of(body).created), dead


def held(connection: sqlite3.Connection, place: str) -> dict[str, tuple[int, int]]:
    """Each owner's messages and bytes, in the `outbox` or `dead`."""
    rows = connection.execute("SELECT owner, count, bytes FROM sizes WHERE place = ?", (place,))
    return {owner: (count, size) for owner, count, size in rows}


def _move_to_dead_letters(
    connection: sqlite3.Connection, message_id: str, why: str, died: datetime, most_bytes: int
) -> list[str]:
    """Also tells the ids of the dead letters that had to go for it."""
    connection.execute(
        "INSERT INTO dead_letters (id, place, owner, name, body, why, died)"
        " SELECT id, place, owner, name, body, ?, ? FROM outbox WHERE id = ?",
        (why, died.isoformat(), message_id),
    )
    delete(connection, message_id)
    dropped: list[str] = []
    while True:
        dead = held(connection, "dead")
        count, size = (sum(each[i] for each in dead.values()) for i in (0, 1))
        too_many = count > DEAD_LIMIT
        if not too_many and (count <= 1 or size <= most_bytes):
            return dropped
        most = max(dead, key=lambda owner: dead[owner][0 if too_many else 1])
        number, first_id = connection.execute(
            "SELECT number, id FROM dead_letters WHERE owner = ? ORDER BY number LIMIT 1", (most,)
        ).fetchone()
        connection.execute("DELETE FROM dead_letters WHERE number = ?", (number,))
        dropped.append(first_id)


def dead_of(connection: sqlite3.Connection, owner: str) -> list[DeadLetter]:
    rows = connection.execute(
        "SELECT body, why, died FROM dead_letters WHERE owner = ? ORDER BY number", (owner,)
    )
    return [letter_of(message_of(body), why, died) for body, why, died in rows]


def requeue(connection: sqlite3.Connection, owner: str) -> int:
    done = connection.execute(
        "INSERT OR IGNORE INTO outbox (place, id, owner, name, body, tried)"
        " SELECT place, id, owner, name, body, 0 FROM dead_letters WHERE owner = ?",
        (owner,),
    )
    connection.execute("DELETE FROM dead_letters WHERE owner = ?", (owner,))
    return done.rowcount


def acquire_delivery_lease(
    connection: sqlite3.Connection, holder: str, seconds: float, now: float
) -> bool:
    row = connection.execute("SELECT holder, until FROM relay").fetchone()
    if row is not None and row[0] != holder and now < row[1]:
        return False
    connection.execute("DELETE FROM relay")
    connection.execute("INSERT INTO relay VALUES (?, ?)", (holder, now + seconds))
    return True
