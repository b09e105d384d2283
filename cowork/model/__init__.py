"""The values of the domain: what a project, its session, its turns and its messages are.

Times are UTC, with their zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal

# The owner of every request where no API key is configured.
NO_OWNER = ""
# Of a project's sessions those that were given up last.
EARLIER_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Project:
    """A project as its owner names it; two owners' projects of one name are two projects.

    `owner` is the name of the API key that asks, or `""` where no key is configured.
    """

    owner: str
    name: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, as the CLI counts them; those read from and written to the cache are apart."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    def plus(self, usage: Mapping[str, Any] | None) -> Usage:
        """With the CLI's own `usage` object of one more turn; what is no number counts nothing."""
        found = usage or {}
        return Usage(
            self.input_tokens + _number(found.get("input_tokens")),
            self.output_tokens + _number(found.get("output_tokens")),
            self.cache_read_tokens + _number(found.get("cache_read_input_tokens")),
            self.cache_write_tokens + _number(found.get("cache_creation_input_tokens")),
        )


def _number(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**53 else 0


@dataclass(frozen=True, slots=True)
class Session:
    """A project's conversation with the CLI: `id` is the CLI's session id, a lower-case UUID4.

    `cwd` is pinned, since the CLI finds a transcript by the directory it was begun in.
    `incomplete` says that its transcript lacks a turn, which its next process must be told.
    `model` is what a question has set, which the CLI goes on with when it resumes the session.
    `context_tokens` is what the last request to the model took, of so many that the model takes
    (`context_limit`); 0 where that is not known.
    `earlier` are the ids of the project's sessions that were given up for this one.
    """

    project: Project
    id: str
    cwd: str
    created: datetime
    last_used: datetime
    turns: int = 0
    cost_usd: float = 0.0
    usage: Usage = Usage()
    incomplete: bool = False
    earlier: tuple[str, ...] = ()
    model: str | None = None
    context_tokens: int = 0
    context_limit: int = 0

    @property
    def ids(self) -> tuple[str, ...]:
        """Of all that the CLI keeps for the project."""
        return with_earlier(*self.earlier, self.id)


def with_earlier(*ids: str) -> tuple[str, ...]:
    """The ids, each once, without the oldest of too many."""
    return tuple(dict.fromkeys(ids))[-EARLIER_LIMIT:]


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write to a project's session; `number` only ever grows (a fencing number)."""

    project: Project
    number: int


@dataclass(frozen=True, slots=True)
class XoToken:
    """The XO token we hold; `expires_at` is None where upstream named no end."""

    access_token: str
    refresh_token: str | None
    expires_at: datetime | None
    user_id: str | None
    auth_session_id: str | None

    def __repr__(self) -> str:
        """Say whose it is, never what it is."""
        return f"XoToken(user_id={self.user_id!r}, expires_at={self.expires_at!r})"


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


# What becomes of an approval; the first three are somebody's answer.
Decision = Literal["allow", "deny", "answer", "expired", "cancelled"]
# Approvals that wait, of one owner and of all: the next is denied.
APPROVALS_OF_OWNER = 32
APPROVALS_LIMIT = 200
APPROVALS_KEEP_S = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Resolution:
    """What became of an approval, and who said so: a key's name, and the client's address.

    `message` is what the model is told.
    """

    decision: Decision
    at: datetime
    by: str | None = None
    address: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """A tool that a turn waits for somebody's yes to run.

    `kind` is `tool`, `question` or `plan`; `tool_use_id` is the CLI's name of the call.
    `input` and `suggestions` are kept while it waits, `input_digest` is for good.  `answer` is
    what the CLI is told, until it was (`applied`).
    """

    id: str
    project: Project
    turn_id: str
    kind: str
    tool: str
    tool_use_id: str
    input: Mapping[str, Any]
    input_digest: str
    created: datetime
    expires: datetime
    reason: str | None = None
    suggestions: tuple[Mapping[str, Any], ...] = ()
    subagent_id: str | None = None
    resolution: Resolution | None = None
    answer: Mapping[str, Any] | None = None
    applied: datetime | None = None


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


@dataclass(frozen=True, slots=True)
class TurnKey:
    """A client's `Idempotency-Key` and the digest of the body it came with."""

    owner: str
    key: str
    digest: str


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """A turn as it is kept: `state` is one of the words of `turns.State`.

    `holder` names the process that runs it (see `Store`).  `body` is JSON that means something
    to `turns/turn.py` alone; without an end in it, an ended turn is one whose process was lost.
    """

    id: str
    project: Project
    state: str
    holder: str
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, order=True)
class TurnPlace:
    """Where a turn stands among those of its project, which are in the order of their creation."""

    created: datetime
    id: str


@dataclass(frozen=True, slots=True)
class TurnPage:
    """Some turns of a project, newest first; `next` is behind which the rest are, None for none."""

    records: tuple[TurnRecord, ...] = ()
    next: TurnPlace | None = None


@dataclass(frozen=True, slots=True)
class TurnFilter:
    """Which turns of a project are wanted: of that state, behind `before`, `limit` at most.

    Of those that have ended only such that ended since `ended_since`.
    """

    limit: int
    state: str | None = None
    before: TurnPlace | None = None
    ended_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class TranscriptState:
    """How much of a session's transcript the store has: bytes, and what identifies their end.

    `GIVEN_UP` bytes: it has grown too long, and none of it is kept.
    """

    GIVEN_UP: ClassVar[int] = -1

    size: int = 0
    tail: str = ""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker, as it tells the others of itself with each heartbeat.

    `holder` is its name in the store, `host` and `pid` are for people; `machine` is the boot that
    it runs in.  `free` is how many processes it may still start, `idle_s` for how long one has been
    idle.  `silent_s` is how long ago its last heartbeat was.
    """

    holder: str
    host: str
    pid: int
    machine: str
    started: datetime
    projects: int = 0
    processes: int = 0
    free: int = 0
    idle_s: float = 0.0
    lag_ms: float = 0.0
    silent_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Message:
    """What one worker tells another; `id` is its place in the inbox.

    `sender` and `number` are where a reply goes and what it is to; `deadline` is opaque.
    """

    id: str
    kind: str
    body: bytes
    sender: str
    number: str
    deadline: str


@dataclass(frozen=True, slots=True)
class PublishedEvents:
    """Events of a turn that runs, from number `first` on, as `Batch.raw` gives them.

    `id` is their place in what is published; the last one says `is_end`, and has no events.
    """

    id: str
    first: int = 0
    codes: bytes = b""
    lines: bytes = b""
    is_end: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question of a project and its answer."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Spending:
    """What a turn took of one model; `model` is `""` where the CLI does not tell which."""

    model: str
    usage: Usage = Usage()
    cost_usd: float = 0.0


class UsageBy(StrEnum):
    """What usage is summed by; `KEY` is by owner."""

    DAY = "day"
    PROJECT = "project"
    KEY = "key"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What turns took together: of one day, project (`owner` and `name`), owner or model.

    The others are None.  The day is that of the turns' ends, in UTC.
    """

    turns: int
    usage: Usage
    cost_usd: float
    day: date | None = None
    owner: str | None = None
    name: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """All that a turn's end changes.

    `log` is its events (`EventLog.dump`), or None where they are too many; the record is kept for
    `keep` seconds, and so is its key, unless it is given back.  `messages` go to the outbox.
    `session` is put, and `exchange` remembered, only if `claim` is still the newest.  `spent` is
    counted in any case, and the turn with the first of it: none for one that is not counted.
    """

    record: TurnRecord
    keep: float
    log: bytes | None = None
    gives_key_back: bool = False
    messages: tuple[ChatMessage, ...] = ()
    claim: Claim | None = None
    session: Session | None = None
    exchange: Exchange | None = None
    spent: tuple[Spending, ...] = ()
