"""The memory store's part for what turns have spent; has no lock."""

from __future__ import annotations

from collections import OrderedDict
from datetime import date

from cowork.model import TurnEnd, UsageBy, UsageRow
from cowork.stores.usage import (
    COLUMNS,
    NOTHING,
    Numbers,
    Place,
    UsageSums,
    counted,
    first_kept,
    plus,
)

# Rows of a day, a project and a model.  Of the owner who has most, the oldest goes first.
ROW_LIMIT = 100_000
# Turns whose ends are known, so that none counts twice; the others' are not written again.
TURN_LIMIT = 10_000


class MemoryUsage:
    """Each owner's numbers by day, project and model, the oldest first."""

    def __init__(self) -> None:
        self._of: dict[str, OrderedDict[Place, Numbers]] = {}
        self._size = 0
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._day = ""

    def count(self, end: TurnEnd) -> None:
        """Add what the turn has spent, once."""
        if end.record.id in self._ended:
            return
        self._ended[end.record.id] = None
        if len(self._ended) > TURN_LIMIT:
            self._ended.popitem(last=False)
        for place, numbers in counted(end):
            self._add(place, numbers)
            if place.day != self._day:
                self._day = place.day
                self.expire()

    def _add(self, place: Place, numbers: Numbers) -> None:
        found = self._of.setdefault(place.owner, OrderedDict())
        self._size += place not in found
        found[place] = plus(found.get(place, NOTHING), numbers)
        if self._size > ROW_LIMIT:
            most = max(self._of, key=lambda owner: len(self._of[owner]))
            self._of[most].popitem(last=False)
            self._size -= 1

    def expire(self) -> None:
        """Forget what was kept long enough."""
        before = first_kept()
        for rows in self._of.values():
            for place in [place for place in rows if place.day < before]:
                del rows[place]
                self._size -= 1

    def sums(self, owner: str | None, first: date, last: date, by: UsageBy) -> list[UsageRow]:
        found, columns = UsageSums(by), [Place._fields.index(each) for each in COLUMNS[by]]
        since, until = first.isoformat(), last.isoformat()
        for each in self._of if owner is None else [owner]:
            for place, numbers in self._of.get(each, {}).items():
                if since <= place.day <= until:
                    found.add(tuple([place[column] for column in columns]), numbers)
        return found.rows()
