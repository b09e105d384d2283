"""The memory store's tickets: those of the newest turns that have any; has no lock."""

from __future__ import annotations

from collections import Counter

from cowork.model import Ticket

# Turns with tickets; as many as turns are kept.  Of the owner who has most, the oldest goes first.
TURN_LIMIT = 10_000


class MemoryTickets:
    """By turn and digest, with the moment until which each may be used for the first time."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[str, dict[str, tuple[Ticket, float]]]] = {}
        self._counts: Counter[str] = Counter()

    def put(self, ticket: Ticket, until: float, now: float) -> bool:
        """Whether there is room for one more of its turn."""
        if ticket.turn_id not in self._of:
            self._of[ticket.turn_id] = ticket.owner, {}
            self._counts[ticket.owner] += 1
        _, found = self._of[ticket.turn_id]
        for digest in [digest for digest, (_, till) in found.items() if till < now]:
            del found[digest]
        if len(found) >= ticket.LIMIT:
            return False
        found[ticket.digest] = ticket, until
        if len(self._of) > TURN_LIMIT:
            self._drop_one()
        return True

    def use(self, turn_id: str, digest: str, now: float) -> Ticket | None:
        """The ticket, which has no deadline from now on."""
        _, found = self._of.get(turn_id, ("", {}))
        ticket, until = found.get(digest, (None, 0.0))
        if ticket is None or until < now:
            return None
        found[digest] = ticket, float("inf")
        return ticket

    def _drop_one(self) -> None:
        ((most, _),) = self._counts.most_common(1)
        del self._of[next(turn for turn, (owner, _) in self._of.items() if owner == most)]
        self._counts[most] -= 1
