"""The right to read the events of one turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

# A ticket must be used for the first time within so many seconds.
TICKET_TTL_S = 60.0


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to read the events of one turn, by the digest of what was handed out.

    `owner` and `fingerprint` tell which key it was made with.
    """

    # Of one turn.
    LIMIT: ClassVar[int] = 8

    turn_id: str
    digest: str
    owner: str
    fingerprint: str
