"""The SQLite store's part for approvals; each takes part in a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cowork.model import APPROVALS_LIMIT, APPROVALS_OF_OWNER, Approval, Resolution
from cowork.stores.serialization import approval_json, approval_of, dumps, loads, resolution_json

_FIELDS = "body, resolution, answer, applied"


def put(connection: sqlite3.Connection, approval: Approval) -> bool:
    """Keep it; whether there was room for one more that waits."""
    owner = approval.project.owner
    count, of_owner = connection.execute(
        "SELECT count(*), coalesce(sum(owner = ?), 0) FROM approvals WHERE resolution IS NULL",
        (owner,),
    ).fetchone()
    if count >= APPROVALS_LIMIT or of_owner >= APPROVALS_OF_OWNER:
        return False
    connection.execute(
        "INSERT INTO approvals (id, owner, body) VALUES (?, ?, ?)",
        (approval.id, owner, approval_json(approval)),
    )
    return True


def find(connection: sqlite3.Connection, approval_id: str) -> Approval | None:
    row = connection.execute(
        f"SELECT {_FIELDS} FROM approvals WHERE id = ?",  # noqa: S608 - constant
        (approval_id,),
    ).fetchone()
    return None if row is None else approval_of(*row)


def of_owner(
    connection: sqlite3.Connection, owner: str | None, *, pending: bool, limit: int
) -> list[Approval]:
    state, order = ("IS", "ASC") if pending else ("IS NOT", "DESC")
    rows = connection.execute(
        f"SELECT {_FIELDS} FROM approvals WHERE resolution {state} NULL"  # noqa: S608 - constants
        f" AND (? IS NULL OR owner = ?) ORDER BY place {order} LIMIT ?",
        (owner, owner, limit),
    )
    return [approval_of(*row) for row in rows]


def resolve(
    connection: sqlite3.Connection,
    approval_id: str,
    resolution: Resolution,
    answer: Mapping[str, Any],
    forget: float,
) -> bool:
    """Whether it waited until now; what it was asked is kept no longer than the answer."""
    row = connection.execute(
        "SELECT body FROM approvals WHERE id = ? AND resolution IS NULL", (approval_id,)
    ).fetchone()
    if row is None:
        return False
    body = {**loads(row[0]), "input": {}, "suggestions": []}
    connection.execute(
        "UPDATE approvals SET body = ?, resolution = ?, answer = ?, forget = ? WHERE id = ?",
        (dumps(body), resolution_json(resolution), dumps(answer), forget, approval_id),
    )
    return True


def apply(connection: sqlite3.Connection, approval_id: str, when: datetime) -> None:
    connection.execute(
        "UPDATE approvals SET answer = NULL, applied = ? WHERE id = ?",
        (when.isoformat(), approval_id),
    )


def expire(connection: sqlite3.Connection, now: float) -> None:
    connection.execute("DELETE FROM approvals WHERE forget <= ?", (now,))
