"""The SQLite store's part for what turns have spent; each takes part in a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import date
from functools import partial

from cowork.model import UsageBy, UsageRow
from cowork.stores.sqlite.executor import Transactions
from cowork.stores.usage import COLUMNS, Numbers, Place, UsageSums, days

# So many days are read at a time: others want the file too.
_DAYS = 31
_PLACE = ", ".join(Place._fields)
_NUMBERS = (
    "turns",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cost_usd",
)


def count(connection: sqlite3.Connection, found: Sequence[tuple[Place, Numbers]]) -> None:
    """Add the numbers to those that are there."""
    connection.executemany(
        f"INSERT INTO usage ({_PLACE}, {', '.join(_NUMBERS)})"  # noqa: S608 - constants
        f" VALUES ({', '.join('?' * (len(Place._fields) + len(_NUMBERS)))})"
        f" ON CONFLICT ({_PLACE}) DO UPDATE SET "
        + ", ".join(f"{each} = {each} + excluded.{each}" for each in _NUMBERS),
        [(*place, *numbers) for place, numbers in found],
    )


def of_days(
    transactions: Transactions, owner: str | None, first: date, last: date, by: UsageBy
) -> list[UsageRow]:
    """What the owner's turns spent in these days, None is everybody's; a transaction for a part."""
    found = UsageSums(by)
    for part in days(first, last, _DAYS):
        for key, numbers in transactions.read(partial(_sums, owner=owner, days=part, by=by)):
            found.add(key, numbers)
    return found.rows()


def _sums(
    connection: sqlite3.Connection, *, owner: str | None, days: Sequence[str], by: UsageBy
) -> list[tuple[tuple[str, ...], tuple[float, ...]]]:
    """The numbers of these days, of one owner or of all."""
    columns = COLUMNS[by]
    # Day by day, so that the rows of other owners are not even looked at.
    rows = connection.execute(
        f"SELECT {', '.join(columns)}, {', '.join(f'sum({each})' for each in _NUMBERS)} FROM usage"  # noqa: S608
        f" WHERE day IN ({', '.join('?' * len(days))})"
        f" {'' if owner is None else 'AND owner = ?'} GROUP BY {', '.join(columns)}",
        (*days, *(() if owner is None else (owner,))),
    )
    return [(row[: len(columns)], row[len(columns) :]) for row in rows]


def expire(connection: sqlite3.Connection, before: str, limit: int) -> None:
    """Forget `limit` rows at most of the days before that one."""
    connection.execute(
        f"DELETE FROM usage WHERE ({_PLACE}) IN"  # noqa: S608 - constants
        f" (SELECT {_PLACE} FROM usage WHERE day < ? LIMIT ?)",
        (before, limit),
    )
