"""The SQLite store's part for the XO token, encrypted; each takes part in a transaction."""

from __future__ import annotations

import sqlite3


def find(connection: sqlite3.Connection) -> str | None:
    row = connection.execute("SELECT body FROM token").fetchone()
    return None if row is None else str(row[0])


def put(connection: sqlite3.Connection, encrypted: str | None) -> None:
    connection.execute("DELETE FROM token")
    if encrypted is not None:
        connection.execute("INSERT INTO token VALUES (?)", (encrypted,))
