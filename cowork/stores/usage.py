"""What turns have spent, as every store counts it and sums it up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from operator import add
from typing import NamedTuple

from cowork.model import TurnEnd, Usage, UsageBy, UsageRow
from cowork.stores.limits import USAGE_KEEP_DAYS

# Turns; tokens of the input, of the output, read from the cache, written to it; USD.
Numbers = tuple[int, int, int, int, int, float]
NOTHING: Numbers = (0, 0, 0, 0, 0, 0.0)


class Place(NamedTuple):
    """Where numbers are counted; `day` is written YYYY-MM-DD."""

    day: str
    owner: str
    name: str
    model: str


# What tells one sum from another.
COLUMNS: dict[UsageBy, tuple[str, ...]] = {
    UsageBy.DAY: ("day",),
    UsageBy.PROJECT: ("owner", "name"),
    UsageBy.KEY: ("owner",),
    UsageBy.MODEL: ("model",),
}


def counted(end: TurnEnd) -> list[tuple[Place, Numbers]]:
    """What the end adds, and where; the turn is one of the first model's."""
    day = (end.record.ended or datetime.now(UTC)).astimezone(UTC).date().isoformat()
    project = end.record.project
    return [
        (
            Place(day, project.owner, project.told_name or "", each.model),
            (
                int(not number),
                each.usage.input_tokens,
                each.usage.output_tokens,
                each.usage.cache_read_tokens,
                each.usage.cache_write_tokens,
                each.cost_usd,
            ),
        )
        for number, each in enumerate(end.spent)
    ]


def plus(one: Numbers, other: Sequence[float]) -> Numbers:
    """Both together."""
    *whole, cost = map(add, one, other)
    turns, read, written, cache_read, cache_written = map(int, whole)
    return turns, read, written, cache_read, cache_written, cost


def days(first: date, last: date, size: int) -> Iterator[list[str]]:
    """The days from the first to the last, `size` at a time."""
    numbers = range(first.toordinal(), last.toordinal() + 1)
    for begin in range(0, len(numbers), size):
        yield [date.fromordinal(each).isoformat() for each in numbers[begin : begin + size]]


def first_kept() -> str:
    """The first day whose numbers are still kept."""
    return (datetime.now(UTC).date() - timedelta(days=USAGE_KEEP_DAYS)).isoformat()


def kept_for_s(day: str) -> float:
    """For how many seconds that day's numbers are still kept; below 0 where they are not."""
    since = datetime.fromisoformat(day).replace(tzinfo=UTC)
    return (since + timedelta(days=USAGE_KEEP_DAYS + 1) - datetime.now(UTC)).total_seconds()


class UsageSums:
    """Sums by day, project, owner or model; their keys are what `COLUMNS` says."""

    def __init__(self, by: UsageBy) -> None:
        self._columns = COLUMNS[by]
        self._sums: dict[tuple[str, ...], Numbers] = {}

    def add(self, key: tuple[str, ...], numbers: Sequence[float]) -> None:
        self._sums[key] = plus(self._sums.get(key, NOTHING), numbers)

    def rows(self) -> list[UsageRow]:
        """A row for each key, in the order of the keys."""
        return [self._row(key, self._sums[key]) for key in sorted(self._sums)]

    def _row(self, key: tuple[str, ...], numbers: Numbers) -> UsageRow:
        turns, *tokens, cost = numbers
        named = dict(zip(self._columns, key, strict=True))
        day = named.pop("day", None)
        found = None if day is None else date.fromisoformat(day)
        return UsageRow(turns, Usage(*map(int, tokens)), cost, day=found, **named)
