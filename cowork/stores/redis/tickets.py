"""The Redis store's part for the tickets of turns."""

from __future__ import annotations

from cowork.model import TICKET_TTL_S, Ticket
from cowork.stores.limits import KEY_KEEP
from cowork.stores.redis import ticket_scripts
from cowork.stores.redis.connection import RedisConnection

# A turn's tickets are kept for twice as long as it can be when it has ended; milliseconds.
_KEEP_MS = round(2000 * KEY_KEEP)


class RedisTickets:
    """Each method is one script."""

    def __init__(self, connection: RedisConnection) -> None:
        self._run = connection.script

    def put(self, ticket: Ticket) -> bool:
        limits = round(TICKET_TTL_S * 1000), ticket.LIMIT, _KEEP_MS
        arguments = [ticket.turn_id, ticket.digest, *limits, ticket.owner, ticket.fingerprint]
        return bool(self._run(ticket_scripts.PUT_TICKET, arguments))

    def use(self, turn_id: str, digest: str) -> Ticket | None:
        found = self._run(ticket_scripts.USE_TICKET, [turn_id, digest, _KEEP_MS])
        return (
            None if found is None else Ticket(turn_id, digest, *[each.decode() for each in found])
        )
