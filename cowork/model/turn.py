"""A turn as it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cowork.model.chat_message import ChatMessage
from cowork.model.conversation import ConversationNode
from cowork.model.session import Claim, Exchange, Project, Session
from cowork.model.usage import Spending


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
class TurnEnd:
    """All that a turn's end changes.

    `log` is its events (`EventLog.dump`), or None where they are too many; the record is kept for
    `keep` seconds, and so is its key, unless it is given back.  `messages` go to the outbox.
    `session` is put, `nodes` are kept in the place of those with their keys, and `exchange` is
    remembered, only if `claim` is still the newest.  `spent` is
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
    nodes: tuple[ConversationNode, ...] = ()
