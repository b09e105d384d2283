"""Messages for the Chat API, and the outbox that they wait in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from cowork.model.session import Project


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A message for the Chat API.

    `id` is `<turn id>-question` or `<turn id>-answer` and doubles as its idempotency key;
    `status` is None, `"partial"` or `"failed"`.  No two messages have one id.  `tried` is what
    the store knows of it: whether it may have been sent before.
    """

    id: str
    project: Project
    user_id: str | None
    message: str
    type: str | None
    status: str | None = None
    created: datetime = field(kw_only=True)
    tried: bool = field(default=False, kw_only=True, compare=False)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A chat message that the Chat API refused for good, without its text.

    `type` and `status` are the message's; `why` is one sentence; `died` is when it was refused.
    """

    id: str
    project: Project
    type: str | None
    status: str | None
    created: datetime
    why: str
    died: datetime


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """The outbox at one moment, over all owners.

    `oldest` is when the longest waiting message was created, `dropped` how many a bound has cost
    since the store was opened, `full` whether every further question has to be refused.
    """

    waiting: int
    oldest: datetime | None
    dead: int
    dropped: int
    full: bool

    @property
    def oldest_age_s(self) -> float | None:
        """Seconds by the time of day, which may have been set back meanwhile."""
        if self.oldest is None:
            return None
        return round(max((datetime.now(UTC) - self.oldest).total_seconds(), 0.0), 1)
