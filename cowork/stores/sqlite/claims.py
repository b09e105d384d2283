"""The SQLite store's part for claims and the holders' heartbeats, in a transaction each."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from cowork.model import Claim, Project
from cowork.stores.held_claims import HeldClaims
from cowork.stores.protocol import CLAIM_TTL_S
from cowork.stores.sqlite.executor import Transactions


class SqliteClaims:
    """The claims of one holder; each method is a transaction."""

    def __init__(self, transactions: Transactions, holder: str) -> None:
        self._transactions = transactions
        self._holder = holder
        self._held = HeldClaims()

    def claim(self, project: Project) -> Claim | None:
        if not self._held.reserve(project):
            return None
        number: int | None = None
        try:
            number = self._transactions.write(
                lambda connection: _put(connection, project, self._holder)
            )
        finally:
            claim = self._held.settle(project, number)
        return claim

    def release(self, claim: Claim) -> None:
        self._held.let_go(claim)
        self._transactions.write(lambda connection: _release(connection, claim))

    def claimed_elsewhere(self, project: Project) -> bool:
        if self._held.has(project):
            return False
        found = self._transactions.read(lambda connection: _find(connection, project))
        return found is not None and found[0] != self._holder and time.time() < found[1]

    def heartbeat(self) -> None:
        held = self._held.all()
        self._transactions.write(lambda connection: _heartbeat(connection, self._holder, held))


def _next_number(connection: sqlite3.Connection) -> int:
    """A number greater than any before; AUTOINCREMENT remembers also those that are gone."""
    number = connection.execute("INSERT INTO numbers DEFAULT VALUES").lastrowid or 0
    connection.execute("DELETE FROM numbers WHERE number < ?", (number,))
    return number


def _find(connection: sqlite3.Connection, project: Project) -> tuple[str, float] | None:
    """Who has claimed the project, and until when."""
    found: tuple[str, float] | None = connection.execute(
        "SELECT holder, until FROM claims WHERE owner = ? AND name = ?",
        (project.owner, project.name),
    ).fetchone()
    return found


def _put(connection: sqlite3.Connection, project: Project, holder: str) -> int | None:
    now = time.time()
    row = _find(connection, project)
    # One of our own that is not known here is the rest of a call that seemed to fail.
    if row is not None and row[0] != holder and now < row[1]:
        return None
    number = _next_number(connection)
    connection.execute(
        "INSERT OR REPLACE INTO claims (owner, name, holder, given, newest, until)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (project.owner, project.name, holder, number, number, now + CLAIM_TTL_S),
    )
    return number


def is_newest(connection: sqlite3.Connection, claim: Claim) -> bool:
    row = connection.execute(
        "SELECT newest FROM claims WHERE owner = ? AND name = ?",
        (claim.project.owner, claim.project.name),
    ).fetchone()
    return row is not None and bool(row[0] == claim.number)


def void(connection: sqlite3.Connection, project: Project) -> None:
    """Refuse whatever the turn that holds the project writes from now on; it stays busy."""
    connection.execute(
        "UPDATE claims SET newest = ? WHERE owner = ? AND name = ?",
        (_next_number(connection), project.owner, project.name),
    )


def _release(connection: sqlite3.Connection, claim: Claim) -> None:
    connection.execute(
        "DELETE FROM claims WHERE owner = ? AND name = ? AND given = ?",
        (claim.project.owner, claim.project.name, claim.number),
    )


def _heartbeat(connection: sqlite3.Connection, holder: str, held: Sequence[Claim]) -> None:
    now = time.time()
    connection.execute("INSERT OR REPLACE INTO holders VALUES (?, ?)", (holder, now))
    connection.executemany(
        "UPDATE claims SET until = ? WHERE owner = ? AND name = ? AND given = ?",
        [(now + CLAIM_TTL_S, each.project.owner, each.project.name, each.number) for each in held],
    )


def holders(connection: sqlite3.Connection) -> dict[str, float]:
    """Seconds since each holder's last heartbeat; of one that never sent any, infinite."""
    now = time.time()
    never = connection.execute(
        "SELECT holder FROM turns WHERE ended IS NULL AND holder <> ''"
        " UNION SELECT holder FROM claims"
    )
    found = {holder: float("inf") for (holder,) in never}
    heartbeats = connection.execute("SELECT holder, beat FROM holders")
    return {**found, **{holder: max(now - beat, 0.0) for holder, beat in heartbeats}}


def release_holder(connection: sqlite3.Connection, holder: str) -> None:
    connection.execute("DELETE FROM claims WHERE holder = ?", (holder,))
    connection.execute("DELETE FROM holders WHERE holder = ?", (holder,))
