"""The Redis store's part for chat messages on their way."""

from __future__ import annotations

from datetime import datetime

from cowork.log import logger
from cowork.model import ChatMessage, DeadLetter, OutboxCounts, Project
from cowork.stores.limits import DEAD_LIMIT, DEAD_SHARE, OutboxBounds
from cowork.stores.redis import outbox_scripts
from cowork.stores.redis.connection import RedisConnection
from cowork.stores.redis.keys import PREFIX, project_key, project_of
from cowork.stores.serialization import letter_of, message_json, message_of

log = logger(__name__)


class RedisOutbox:
    """Each method is one command or one script."""

    def __init__(self, connection: RedisConnection, bounds: OutboxBounds) -> None:
        self._connection = connection
        self._run = connection.script
        self._bounds = bounds
        self._dropped = 0
        # The message that has waited longest when last counted, and when it was made.
        self._oldest: tuple[str, datetime] | None = None

    def projects(self, limit: int) -> list[Project]:
        found = self._connection.call(lambda redis: redis.zrange(f"{PREFIX}projects", 0, limit - 1))
        return [project_of(each) for each in found]

    def first(self, project: Project) -> ChatMessage | None:
        found = self._run(outbox_scripts.NEXT_MESSAGE, [project_key(project)])
        return None if found is None else message_of(found[0], tried=bool(found[1]))

    def note_try(self, message: ChatMessage, *, tried: bool = True) -> None:
        self._run(outbox_scripts.NOTE_TRY, [message.id, int(tried)])

    def delete(self, message: ChatMessage) -> None:
        self._run(outbox_scripts.DELETE_MESSAGE, [message.id, project_key(message.project)])

    def counts(self) -> OutboxCounts:
        known = self._oldest
        arguments = [*outbox_limits(self._bounds), "" if known is None else known[0]]
        waiting, dead, full, *first = self._run(outbox_scripts.OUTBOX_COUNTS, arguments)
        if len(first) > 1:
            known = first[0].decode(), message_of(first[1]).created
        self._oldest = known = known if first else None
        oldest = None if known is None else known[1]
        return OutboxCounts(waiting, oldest, dead, dropped=self._dropped, full=bool(full))

    def move_to_dead_letters(self, message: ChatMessage, why: str, died: datetime) -> None:
        project = message.project
        limits = DEAD_LIMIT, self._bounds.most_bytes // DEAD_SHARE
        arguments = [
            message.id,
            project_key(project),
            project.owner,
            why,
            died.isoformat(),
            *limits,
        ]
        dropped = self._run(outbox_scripts.MOVE_TO_DEAD_LETTERS, arguments)
        if dropped:
            self._dropped += len(dropped)
            log.warning("too many dead letters, oldest dropped", message_id=dropped[0].decode())

    def dead_of(self, owner: str) -> list[DeadLetter]:
        found = self._run(outbox_scripts.DEAD_LETTERS, [owner])
        return [
            letter_of(message_of(body), why.decode(), died.decode()) for body, why, died in found
        ]

    def requeue(self, owner: str) -> int:
        return int(self._run(outbox_scripts.REQUEUE_DEAD_LETTERS, [owner]))

    def acquire_delivery_lease(self, holder: str, seconds: float) -> bool:
        arguments = [holder, round(seconds * 1000)]
        return bool(self._run(outbox_scripts.ACQUIRE_DELIVERY_LEASE, arguments))


def outbox_limits(bounds: OutboxBounds) -> tuple[int, int, int, int]:
    """The arguments of what may wait: of all, and of one owner."""
    return bounds.most, bounds.most_bytes, *bounds.share


def message_arguments(message: ChatMessage | None) -> list[str]:
    """The arguments of a message; empty ones where there is none."""
    if message is None:
        return ["", "", ""]
    return [message.id, project_key(message.project), message_json(message)]
