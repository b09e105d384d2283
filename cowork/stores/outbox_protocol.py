"""What a store offers for the chat messages that wait, and those that were refused."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from cowork.model import ChatMessage, DeadLetter, OutboxCounts, Project


class OutboxStore(Protocol):
    """Chat messages that wait, and those that were refused for good."""

    @property
    def shared(self) -> bool:
        """Whether another process may use the same store."""

    # Messages are appended by the turns that they belong to, behind the earlier ones of their
    # project.  At its limit a volatile store drops the oldest message; a durable one never drops,
    # since the answer of an accepted turn must not be lost: it reports `full` (`OutboxBounds`),
    # and new turns get `OutboxFull`.

    def waiting_projects(self, limit: int) -> list[Project]:
        """Projects with a waiting message, that whose first has waited longest first."""

    def next_message(self, project: Project) -> ChatMessage | None:
        """The project's first waiting message."""

    def note_try(self, message: ChatMessage, *, tried: bool = True) -> None:
        """Remember that the waiting message of that id may have been sent, or surely was not."""

    def delete_message(self, message: ChatMessage) -> None:
        """Take the message of that id out of the outbox: it was delivered; absent is no error."""

    def outbox_counts(self) -> OutboxCounts:
        """How the outbox is, in one look."""

    def move_to_dead_letters(self, message: ChatMessage, why: str, died: datetime) -> None:
        """Move the message of that id from the outbox to the dead letters; absent is no error.

        Beyond `DEAD_LIMIT` dead letters, or their part of the outbox's bytes, those that died
        first of the owner who has most are dropped, and counted.
        """

    def dead_letters(self, owner: str) -> list[DeadLetter]:
        """The owner's dead letters, that which died first first."""

    def requeue_dead_letters(self, owner: str) -> int:
        """Put the owner's dead letters back in their old places, and tell how many.

        Messages die at the head of their project, so that place is before every message that
        waits there now.  A bound of the outbox does not keep them out.
        """

    def acquire_delivery_lease(self, holder: str, seconds: float) -> bool:
        """Take, or renew, the lease to deliver messages; False while another holds it.

        It ends by itself `seconds` after the last call; 0 gives it back.
        """
