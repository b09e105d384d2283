"""The SQLite store's part for sessions and removals; each takes part in a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from cowork.model import Claim, Project, Session, Usage
from cowork.stores.limits import REMOVALS_LIMIT
from cowork.stores.serialization import dumps, loads
from cowork.stores.sqlite import claims

_FIELDS = "id, cwd, created, last_used, turns, cost_usd, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, incomplete, earlier, model, context_tokens, context_limit, last_words, last_turn"  # noqa: E501
# The first name behind those of unnamed projects.
BEHIND_UNNAMED = "\x02"
_Row = tuple[
    str, str, str, str, int, float, int, int, int, int, int, str, str | None, int, int, str, str
]


def of_owner(connection: sqlite3.Connection, owner: str) -> list[Session]:
    rows = connection.execute(
        f"SELECT name, {_FIELDS} FROM sessions WHERE owner = ? ORDER BY place",  # noqa: S608
        (owner,),
    )
    found = [(Project(owner, name), row) for name, *row in rows]
    return [_session_of(project, row) for project, row in found if not project.is_unnamed]


def count(connection: sqlite3.Connection) -> int:
    found: int = connection.execute(
        "SELECT count(*) FROM sessions WHERE name >= ?", (BEHIND_UNNAMED,)
    ).fetchone()[0]
    return found


def delete(connection: sqlite3.Connection, project: Project) -> None:
    connection.execute(
        "DELETE FROM sessions WHERE owner = ? AND name = ?", (project.owner, project.name)
    )


def removals(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT id FROM removals ORDER BY number")
    return [session_id for (session_id,) in rows]


def delete_removal(connection: sqlite3.Connection, session_id: str) -> None:
    connection.execute("DELETE FROM removals WHERE id = ?", (session_id,))


def find(connection: sqlite3.Connection, project: Project) -> Session | None:
    row = connection.execute(
        f"SELECT {_FIELDS} FROM sessions WHERE owner = ? AND name = ?",  # noqa: S608 - constant
        (project.owner, project.name),
    ).fetchone()
    return None if row is None else _session_of(project, row)


def _session_of(project: Project, row: _Row) -> Session:
    (
        session_id,
        cwd,
        created,
        last_used,
        count,
        cost,
        *usage,
        incomplete,
        earlier,
        model,
        tokens,
        most,
        said,
        last_turn,
    ) = row
    return Session(
        project=project,
        id=session_id,
        cwd=cwd,
        created=datetime.fromisoformat(created),
        last_used=datetime.fromisoformat(last_used),
        turns=count,
        cost_usd=cost,
        usage=Usage(*usage),
        incomplete=bool(incomplete),
        earlier=tuple(loads(earlier)),
        model=model,
        context_tokens=tokens,
        context_limit=most,
        last_words=said,
        last_turn=last_turn,
    )


def put(connection: sqlite3.Connection, session: Session) -> None:
    fields = _FIELDS.split(", ")
    usage = session.usage
    connection.execute(
        f"INSERT INTO sessions (owner, name, {_FIELDS}) VALUES (?, ?{', ?' * len(fields)})"  # noqa: S608
        " ON CONFLICT (owner, name) DO UPDATE SET "
        + ", ".join(f"{field} = excluded.{field}" for field in fields),
        (
            session.project.owner,
            session.project.name,
            session.id,
            session.cwd,
            session.created.isoformat(),
            session.last_used.isoformat(),
            session.turns,
            session.cost_usd,
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_tokens,
            usage.cache_write_tokens,
            session.incomplete,
            dumps(session.earlier),
            session.model,
            session.context_tokens,
            session.context_limit,
            session.last_words,
            session.last_turn,
        ),
    )


def put_claimed(connection: sqlite3.Connection, session: Session, claim: Claim) -> bool:
    """Keep the session under the newest claim of its project alone; whether it was."""
    if claim.project != session.project or not claims.is_newest(connection, claim):
        return False
    if find(connection, session.project) != session:
        put(connection, session)
    return True


def titles(connection: sqlite3.Connection, owner: str) -> dict[str, str]:
    rows = connection.execute("SELECT name, title FROM titles WHERE owner = ?", (owner,))
    return dict(rows.fetchall())


def put_title(connection: sqlite3.Connection, project: Project, title: str | None) -> bool:
    if find(connection, project) is None:
        return False
    key = project.owner, project.name
    connection.execute("DELETE FROM titles WHERE owner = ? AND name = ?", key)
    if title is not None:
        connection.execute("INSERT INTO titles VALUES (?, ?, ?)", (*key, title))
    return True


def put_removals(connection: sqlite3.Connection, ids: Sequence[str]) -> None:
    connection.executemany("INSERT OR IGNORE INTO removals (id) VALUES (?)", [(i,) for i in ids])
    connection.execute(
        "DELETE FROM removals WHERE number NOT IN"
        " (SELECT number FROM removals ORDER BY number DESC LIMIT ?)",
        (REMOVALS_LIMIT,),
    )
