"""What every store offers, and the values it keeps.

Each method is atomic and safe to call from any thread.  A store that is away raises
`StoreUnavailable`; none of them waits longer than a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


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
    `status` is None, `"partial"` or `"failed"`.
    """

    id: str
    project: Project
    user_id: str | None
    message: str
    type: str | None
    status: str | None = None


class Store(Protocol):
    """Sessions, claims, the token and the outbox."""

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

    def put_message(self, message: ChatMessage) -> None:
        """Append to the outbox, behind every earlier message of its project."""

    def next_messages(self) -> list[ChatMessage]:
        """The oldest waiting message of each project, the longest waiting first."""

    def drop_message(self, message: ChatMessage) -> None:
        """Take a message out of the outbox: it was delivered, or it never will be."""

    def message_count(self) -> int:
        """How many messages wait in the outbox."""

    def close(self) -> None:
        """Let go of files and connections; calling it twice is no error."""
