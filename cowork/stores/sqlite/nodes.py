"""The SQLite store's part for nodes of conversations; each takes part in a transaction.

Those of a project go with its session, by a trigger.
"""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime

from cowork.model import ConversationNode, Project
from cowork.stores.limits import NODES_LIMIT, NODES_OF_OWNER
from cowork.stores.sqlite.sessions import BEHIND_UNNAMED

_COLUMNS = "name, key, session, cwd, turn"


def put(connection: sqlite3.Connection, node: ConversationNode) -> None:
    """Keep it; of too many another one goes."""
    owner = node.project.owner
    row = owner, node.project.name, node.key, node.session_id, node.cwd, node.turn_id, time.time()
    connection.execute(
        f"INSERT OR REPLACE INTO nodes (owner, {_COLUMNS}, used)"  # noqa: S608 - constants
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        row,
    )
    owned, *_ = connection.execute(
        "SELECT count(*) FROM nodes WHERE owner = ?", (owner,)
    ).fetchone()
    total, *_ = connection.execute("SELECT count(*) FROM nodes").fetchone()
    if total > NODES_LIMIT:
        owner, *_ = connection.execute(
            "SELECT owner FROM nodes GROUP BY owner ORDER BY count(*) DESC LIMIT 1"
        ).fetchone()
    elif owned <= NODES_OF_OWNER:
        return
    connection.execute(
        "DELETE FROM nodes WHERE owner = ? AND key ="
        " (SELECT key FROM nodes WHERE owner = ? ORDER BY used LIMIT 1)",
        (owner, owner),
    )


def find(
    connection: sqlite3.Connection, owner: str, column: str, value: str, now: float
) -> ConversationNode | None:
    """By `key` or `turn`, which it is used by."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM nodes WHERE owner = ? AND {column} = ?"  # noqa: S608 - constants
        " ORDER BY used DESC LIMIT 1",
        (owner, value),
    ).fetchone()
    if row is None:
        return None
    name, key, session_id, cwd, turn_id = row
    connection.execute("UPDATE nodes SET used = ? WHERE owner = ? AND key = ?", (now, owner, key))
    return ConversationNode(Project(owner, name), key, session_id, cwd, turn_id)


def expire(
    connection: sqlite3.Connection, now: float, unused_s: float, orphaned_s: float, limit: int
) -> list[Project]:
    """Remove nodes that were not used; unnamed projects that have none, nor were used."""
    before = now - unused_s
    connection.execute(
        "DELETE FROM nodes WHERE (owner, key) IN"
        " (SELECT owner, key FROM nodes WHERE used < ? ORDER BY used LIMIT ?)",
        (before, limit),
    )
    rows = connection.execute(
        "SELECT owner, name FROM sessions WHERE name < ? AND last_used <= ? AND NOT EXISTS"
        " (SELECT 1 FROM nodes WHERE nodes.owner = sessions.owner AND nodes.name = sessions.name)"
        " LIMIT ?",
        (BEHIND_UNNAMED, datetime.fromtimestamp(now - orphaned_s, UTC).isoformat(), limit),
    )
    return [Project(*row) for row in rows]
