"""Tickets: what lets an `EventSource`, which cannot send a key, read the events of one turn.

A ticket is in a query string, which others write down: so it is of one turn, has to be used soon,
and dies with the key that it was made with.
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from flask import Request

from cowork.errors import TooManyTickets, Unauthorized
from cowork.model import NO_OWNER, TICKET_TTL_S, Ticket
from cowork.settings.api_keys import ApiKeys, KeyOwner
from cowork.stores.protocol import Store
from cowork.turns.turn import Turn

_BYTES = 32
_EVENTS_PATH = re.compile(r"/turns/([0-9a-f-]{36})/events")
_REFUSED = "the ticket is unknown, too late, or its key is no longer valid"


class Tickets:
    """Issues tickets, and finds whose a ticket is; the store keeps their digests."""

    def __init__(self, store: Store, keys: ApiKeys) -> None:
        self._store = store
        self._keys = keys

    def issue(self, turn: Turn, key_owner: KeyOwner | None) -> tuple[str, datetime]:
        """A new ticket for the turn, and until when it must be used for the first time.

        Raises `TooManyTickets` and `StoreUnavailable`.
        """
        ticket = secrets.token_urlsafe(_BYTES)
        owner, fingerprint = NO_OWNER, ""
        if key_owner is not None:
            owner, fingerprint = key_owner.name, key_owner.fingerprint
        expires_at = datetime.now(UTC) + timedelta(seconds=TICKET_TTL_S)
        if not self._store.put_ticket(Ticket(turn.id, _digest(ticket), owner, fingerprint)):
            raise TooManyTickets(
                f"the turn has {Ticket.LIMIT} tickets: one that is not used goes after a minute",
                retry_after=round(TICKET_TTL_S),
            )
        return ticket, expires_at

    def admit(self, turn_id: str, given: str) -> KeyOwner | None:
        """Whose ticket it is; None on a server without keys.

        Raises `Unauthorized` for one that is none of this turn's, and `StoreUnavailable`.
        """
        ticket = self._store.use_ticket(turn_id, _digest(given))
        if ticket is None:
            raise Unauthorized(_REFUSED)
        if not self._keys.required:
            return None
        key_owner = self._keys.find_by_fingerprint(ticket.owner, ticket.fingerprint)
        if key_owner is None:
            raise Unauthorized(_REFUSED)
        return key_owner


def ticket_of(asked: Request) -> tuple[str, str] | None:
    """The turn's id and the ticket, where this request has one and may have it."""
    if asked.method not in {"GET", "HEAD"} or b"ticket=" not in asked.query_string:
        return None
    found = _EVENTS_PATH.fullmatch(asked.path)
    given = asked.args.get("ticket")
    return None if found is None or given is None else (found[1], given)


def _digest(ticket: str) -> str:
    return sha256(ticket.encode(errors="replace")).hexdigest()
