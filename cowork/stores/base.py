"""What every store offers, and the values it keeps.

Each method is atomic and safe to call from any thread.  A store that is away raises
`StoreUnavailable`; none of them waits longer than a second.  Times are UTC, with their zone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

# Dead letters kept at most, of all owners.
DEAD_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Project:
    """A project as its owner names it; two owners' projects of one name are two projects.

    `owner` is the name of the API key that asks, or `""` where no key is configured.
    """

    owner: str
    name: str


@dataclass(frozen=True, slots=True)
class Session:
    """A project's conversation with the CLI: `id` is the CLI's session id, a lower-case UUID4.

    `cwd` is pinned, since the CLI finds a transcript by the directory it was begun in.
    """

    project: Project
    id: str
    cwd: str
    created: datetime
    last_used: datetime
    turns: int = 0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write to a project's session; `number` only ever grows (a fencing number)."""

    project: Project
    number: int


@dataclass(frozen=True, slots=True)
class Token:
    """The XO token we hold; `expires_at` is None where upstream named no end."""

    access_token: str
    refresh_token: str | None
    expires_at: datetime | None
    user_id: str | None
    auth_session_id: str | None

    def __repr__(self) -> str:
        """Say whose it is, never what it is."""
        return f"Token(user_id={self.user_id!r}, expires_at={self.expires_at!r})"


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A message for the Chat API.

    `id` is `<turn id>-question` or `<turn id>-answer` and doubles as its idempotency key;
    `status` is None, `"partial"` or `"failed"`.  No two messages have one id.
    """

    id: str
    project: Project
    user_id: str | None
    message: str
    type: str | None
    status: str | None = None
    created: datetime = field(kw_only=True)


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
    since the store was opened, `full` whether a further question has to be refused.
    """

    waiting: int
    oldest: datetime | None
    dead: int
    dropped: int
    full: bool


class Store(Protocol):
    """Sessions, claims, the token and the outbox.

    `shared` tells whether another process may use the same store.
    """

    @property
    def shared(self) -> bool: ...

    def session(self, project: Project) -> Session | None:
        """The project's session, or None."""

    def sessions(self, owner: str) -> list[Session]:
        """The owner's sessions, oldest first."""

    def session_count(self) -> int:
        """How many sessions there are, of all owners."""

    def put_session(self, session: Session, claim: Claim) -> bool:
        """Keep `session`; False, and nothing kept, when `claim` is no longer the newest."""

    def delete_session(self, project: Project) -> Session | None:
        """Forget the session and void every claim on it; what was there, or None."""

    def claim(self, project: Project) -> Claim | None:
        """Claim the project for one turn, or None while another turn holds it."""

    def release(self, claim: Claim) -> None:
        """Give a claim back; one that was voided already is no error."""

    def token(self) -> Token | None:
        """The stored XO token, expired or not."""

    def put_token(self, token: Token | None) -> None:
        """Replace the token; None forgets it."""

    def swap_token(self, expected: str | None, token: Token | None) -> bool:
        """As `put_token`, if `expected` is the stored access token (None: there is none).

        False, and nothing changed, if it is not: somebody logged in or out meanwhile.
        """

    # A bound of the outbox costs a store that forgets at restart its oldest message.  A durable
    # one takes every message, since the answer of an accepted turn must not be lost, and is
    # `full` at its bound: whoever accepts a turn raises `OutboxFull` then.

    def put_message(self, message: ChatMessage) -> None:
        """Append to the outbox, behind every earlier message of its project."""

    def waiting_projects(self, limit: int) -> list[Project]:
        """Projects with a waiting message, that whose first has waited longest first."""

    def next_message(self, project: Project) -> ChatMessage | None:
        """The project's first waiting message."""

    def drop_message(self, message: ChatMessage) -> None:
        """Take the message of that id out of the outbox: it was delivered; absent is no error."""

    def message_count(self) -> int:
        """How many messages wait in the outbox."""

    def outbox_counts(self) -> OutboxCounts:
        """How the outbox is, in one look."""

    def bury_message(self, message: ChatMessage, why: str, died: datetime) -> None:
        """Move the message of that id from the outbox to the dead letters; absent is no error.

        Beyond `DEAD_LIMIT` dead letters the one that died first is dropped, and counted.
        """

    def dead_letters(self, owner: str) -> list[DeadLetter]:
        """The owner's dead letters, that which died first first."""

    def revive_dead(self, owner: str) -> int:
        """Put the owner's dead letters back in their old places, and tell how many.

        Messages die at the head of their project, so that place is before every message that
        waits there now.  A bound of the outbox does not keep them out.
        """

    def lease_relay(self, holder: str, seconds: float) -> bool:
        """Take, or prolong, the one right to deliver messages; False while another holds it.

        It ends by itself `seconds` after the last call; 0 gives it back.
        """

    def close(self) -> None:
        """Let go of files and connections; calling it twice is no error."""
