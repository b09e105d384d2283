"""`GET /usage`: what turns took, by day, project, key or model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from flask import g
from marshmallow import ValidationError

from cowork.model import NO_OWNER, UsageBy, UsageRow
from cowork.settings.api_keys import Operators
from cowork.stores.protocol import UsageStore
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.fields import fault
from cowork.web.problems import InvalidBody, faults_of
from cowork.web.schemas.usage import UsageQuery, UsageReply

DEFAULT_DAYS = 30
MAX_DAYS_APART = 400
MAX_ROWS = 1000
# Of what is told in USD; what is beyond is noise of its sums.
DIGITS = 9
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


def blueprint(store: UsageStore, operators: Operators) -> CoworkBlueprint:
    """What the caller's own turns took; an operator sees everybody's."""
    routes = CoworkBlueprint("usage", __name__, description="Turns, tokens and cost")

    @routes.get("/usage")
    @routes.arguments(UsageQuery, location="query")
    @routes.response(200, UsageReply)
    def read_usage(query: dict[str, Any]) -> dict[str, Any]:
        """What the caller's turns took in a time, by day, project, key or model.

        An operator sees everybody's.  Days are those of the turns' ends, in UTC.
        """
        first, last = _time(query["first"], query["last"])
        by = UsageBy(query["by"])
        sees_all = operators.may_administer(g.key_owner)
        rows = store.usage(None if sees_all else g.owner, first, last, by)
        shown = _shown(rows, by)
        return {
            "usage": [
                {**_place_reply(row, by, sees_all=sees_all), **_numbers_reply([row])}
                for row in shown
            ],
            "count": len(shown),
            "total": _numbers_reply(rows),
            "first": first.isoformat(),
            "last": last.isoformat(),
            **({"truncated": True} if len(shown) < len(rows) else {}),
        }

    return routes


def _time(first: date | None, last: date | None) -> tuple[date, date]:
    """The time that is asked for; raises `InvalidBody` for none, and for too long a one."""
    last = last or datetime.now(UTC).date()
    first = first or date.fromordinal(max(last.toordinal() - DEFAULT_DAYS + 1, 1))
    if first > last:
        raise _invalid_from("Input should not be after `to`")
    if (last - first).days > MAX_DAYS_APART:
        raise _invalid_from(f"Input should be at most {MAX_DAYS_APART} days before `to`")
    return first, last


def _invalid_from(sentence: str) -> InvalidBody:
    said = {"query": {"from": [fault("value_error", sentence)]}}
    return InvalidBody(faults_of(ValidationError(said)))


def _shown(rows: Sequence[UsageRow], by: UsageBy) -> list[UsageRow]:
    """Days in their order, all else by cost, the highest first."""
    if by is UsageBy.DAY:
        return list(rows)
    return sorted(rows, key=lambda row: (-row.cost_usd, -row.turns))[:MAX_ROWS]


def _place_reply(row: UsageRow, by: UsageBy, *, sees_all: bool) -> dict[str, Any]:
    key = None if row.owner == NO_OWNER else row.owner
    if by is UsageBy.DAY:
        return {"day": None if row.day is None else row.day.isoformat()}
    if by is UsageBy.MODEL:
        return {"model": row.model or None}
    if by is UsageBy.KEY:
        return {"key": key}
    return {"project": row.name or None, **({"key": key} if sees_all else {})}


def _numbers_reply(rows: Sequence[UsageRow]) -> dict[str, Any]:
    """The numbers of the rows, summed."""
    return {
        "turns": sum(row.turns for row in rows),
        **{name: sum(getattr(row.usage, name) for row in rows) for name in _TOKENS},
        "cost_usd": round(sum(row.cost_usd for row in rows), DIGITS),
    }
