"""The SQLite store's part for tickets; each takes part in a transaction.

A turn's tickets go with the turn, by a trigger; `until` is NULL once a ticket was used.
"""

from __future__ import annotations

import sqlite3

from cowork.model import Ticket


def put(connection: sqlite3.Connection, ticket: Ticket, until: float, now: float) -> bool:
    """Keep it; whether there was room for one more of its turn."""
    connection.execute("DELETE FROM tickets WHERE turn = ? AND until < ?", (ticket.turn_id, now))
    (count,) = connection.execute(
        "SELECT count(*) FROM tickets WHERE turn = ?", (ticket.turn_id,)
    ).fetchone()
    if count >= ticket.LIMIT:
        return False
    connection.execute(
        "INSERT INTO tickets (turn, digest, owner, fingerprint, until) VALUES (?, ?, ?, ?, ?)",
        (ticket.turn_id, ticket.digest, ticket.owner, ticket.fingerprint, until),
    )
    return True


def use(connection: sqlite3.Connection, turn_id: str, digest: str, now: float) -> Ticket | None:
    """The ticket, unless it is too late; it has no deadline from now on."""
    row = connection.execute(
        "SELECT owner, fingerprint FROM tickets WHERE turn = ? AND digest = ?"
        " AND (until IS NULL OR until >= ?)",
        (turn_id, digest, now),
    ).fetchone()
    if row is None:
        return None
    connection.execute(
        "UPDATE tickets SET until = NULL WHERE turn = ? AND digest = ?", (turn_id, digest)
    )
    return Ticket(turn_id, digest, *row)
