"""What a store offers besides where several workers share it for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from cowork.model import (
    Claim,
    Message,
    Project,
    PublishedEvents,
    Session,
    TranscriptState,
    WorkerInfo,
)

# How long a worker waits at most for what others tell it, before it asks again.
RECEIVE_TIMEOUT_S = 1.0
# How long a project that is asked nothing stays with its worker.
ASSIGNMENT_TTL_S = 3600.0


class WorkerStore(Protocol):
    """What workers that share a store know of each other, and tell each other.

    A worker's name is its `holder` in the store.
    """

    def register(self, worker: WorkerInfo) -> None:
        """This worker takes questions; to be repeated with its heartbeat."""

    def deregister(self) -> None:
        """This worker takes no more questions."""

    def workers(self) -> list[WorkerInfo]:
        """All that take questions, as they told with their last heartbeat."""

    def assign(self, project: Project, candidate: str) -> str:
        """The worker that answers the project's questions: the one that did, else `candidate`.

        It is another where that is gone or takes none any more, and where the project has been
        idle for `ASSIGNMENT_TTL_S`: `candidate` then too, but for one of the same machine as
        before that has room.
        """

    def find_workers(self, project: Project) -> list[str]:
        """The workers that may have turns of the project: who answers it now is the first."""

    def send(self, worker: str, message: Message, ttl_s: float = 0.0) -> str | None:
        """Put a message into a worker's inbox; its id there, or None where nobody would read it.

        It counts for `ttl_s` seconds of the store's own time, 0 is for ever.
        """

    def take(self, messages: Sequence[Message]) -> list[Message]:
        """Those of our inbox's messages that are still to be done; nobody else can take them."""

    def withdraw(self, worker: str, message_id: str, turn_id: str = "") -> bool:
        """Take a message back; whether its turn has been accepted.  It cannot be afterwards."""

    def publish(self, turn_id: str, events: PublishedEvents) -> None:
        """Let other workers read these events of a turn that runs here."""

    def published(self, turn_id: str, after: str = "0") -> list[PublishedEvents]:
        """What was published of a turn behind that place."""

    def acquire_processes(self, machine: str, count: int, limit: int) -> bool:
        """Let this worker have `count` processes, if all of the machine have `limit` at most then.

        Without a limit (0) it has so many.
        """

    def transcript_state(self, session_id: str) -> TranscriptState:
        """How much of a session's transcript is kept."""

    def put_transcript(
        self,
        session: Session,
        claim: Claim,
        known: TranscriptState,
        new: TranscriptState,
        data: bytes,
    ) -> bool:
        """Add to what is kept of the session's transcript, whose state is `known`.

        False, and nothing kept, where that or `claim` is no longer the newest.  It replaces what
        is kept where `new` is not longer by `data`; without any, nothing is kept from now on.
        Those of the project's earlier sessions go.
        """

    def transcript(self, session_id: str) -> bytes | None:
        """What is kept of a session's transcript; None where the key is another."""

    def receive(
        self, after: str, followed: Mapping[str, str], timeout_s: float
    ) -> tuple[list[Message], dict[str, list[PublishedEvents]]]:
        """Our inbox behind `after`, and what was published of turns, each behind its place.

        Waits for the first of it; for one thread alone.
        """
