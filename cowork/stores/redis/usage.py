"""The Redis store's part for what turns have spent."""

from __future__ import annotations

from datetime import date

from cowork.model import TurnEnd, UsageBy, UsageRow
from cowork.stores.redis import usage_scripts
from cowork.stores.redis.connection import RedisConnection
from cowork.stores.usage import UsageSums, counted, days, kept_for_s

# So many days are read at a time: others want Redis too.
_DAYS = 10


def sums(
    connection: RedisConnection, owner: str | None, first: date, last: date, by: UsageBy
) -> list[UsageRow]:
    """What the owner's turns spent in these days; None is everybody's."""
    found = UsageSums(by)
    for part in days(first, last, _DAYS):
        arguments = [by.value, int(owner is None), owner or "", *part]
        told = connection.script(usage_scripts.USAGE, arguments)
        for key, numbers in zip(told[::2], told[1::2], strict=True):
            found.add(tuple(key.decode().split("\0")), [*map(float, numbers.split())])
    return found.rows()


def spending_arguments(end: TurnEnd, created: int) -> list[str | int]:
    """The arguments of what the turn has spent, and the places that they are counted at."""
    found = counted(end)
    if not found:
        return ["", 0, 0, created]
    day = found[0][0].day
    pairs = (
        (f"{place.name}\0{place.model}", " ".join(map(repr, numbers))) for place, numbers in found
    )
    return [
        day,
        round(kept_for_s(day) * 1000),
        len(found),
        created,
        *(each for pair in pairs for each in pair),
    ]
