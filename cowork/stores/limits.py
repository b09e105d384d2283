"""How much is kept, and for how long: the bounds that every store obeys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cowork.model import Exchange

# Dead letters kept at most, of all owners.
DEAD_LIMIT = 1000
# Chat messages that wait may take so many bytes by default, and dead letters this part of that.
OUTBOX_BYTES = 256 * 2**20
DEAD_SHARE = 4
# What is remembered of a project's conversation, for a session that is lost: exchanges, and
# characters of one text and of all.
HISTORY_LENGTH = 20
HISTORY_TEXT = 8 * 1024
HISTORY_SIZE = 64 * 1024
# How long a turn is kept whose process was lost, and one that came with a key; seconds.
LOST_KEEP = KEY_KEEP = 24 * 3600.0
# A key that takes another's place: every request of an SDK has one, for its retries.
LATEST_KEY_KEEP = 2 * 3600.0
# The largest log of a turn that a store keeps, compressed; bytes.
LOG_SIZE = 16 * 2**20
# Of a page of turns: the bytes of their records, of which there is one at least, and how many
# others are passed over for it.
TURN_PAGE_BYTES = 4 * 2**20
TURN_PAGE_SCANNED = 2000
# How long is known what turns have spent; days behind the day of their end.
USAGE_KEEP_DAYS = 400
# Nodes of conversations, of an owner and of all; of the owner who has most, that used longest ago
# goes first.
NODES_OF_OWNER = 2000
NODES_LIMIT = 10_000
# Deleted sessions whose files are still to be removed.
REMOVALS_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class OutboxBounds:
    """What may wait in a durable store's outbox before it takes no further question.

    While there is more than one key (`owners` tells how many), each owner has half of it; what
    one of them has beyond that, by answers, counts against nobody else.
    """

    most: int
    most_bytes: int
    owners: Callable[[], int]

    @property
    def share(self) -> tuple[int, int]:
        """Messages and bytes that one owner may have."""
        parts = 1 if self.owners() <= 1 else 2
        return max(self.most // parts, 1), max(self.most_bytes // parts, 1)

    def are_reached(self, held: Mapping[str, tuple[int, int]], owner: str | None = None) -> bool:
        """By that owner, or by all together; `held` are each owner's messages and bytes."""
        most, most_bytes = self.share
        count, size = held.get(owner, (0, 0)) if owner is not None else (0, 0)
        if count >= most or size >= most_bytes:
            return True
        return (
            sum(min(each[0], most) for each in held.values()) >= self.most
            or sum(min(each[1], most_bytes) for each in held.values()) >= self.most_bytes
        )


def remembered(before: Sequence[Exchange], exchange: Exchange) -> list[Exchange]:
    """A project's exchanges with one more, and without the oldest of too many."""
    cut = Exchange(_cut(exchange.question), _cut(exchange.answer))
    found = [*before, cut][-HISTORY_LENGTH:]
    while sum([len(each.question) + len(each.answer) for each in found]) > HISTORY_SIZE:
        del found[0]
    return found


def _cut(text: str) -> str:
    return text if len(text) <= HISTORY_TEXT else f"{text[: HISTORY_TEXT - 4]} ..."
