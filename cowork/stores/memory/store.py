"""The store of one process: fast, bounded, gone at restart."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from time import monotonic
from typing import Any

from cowork.log import logger
from cowork.model import (
    TICKET_TTL_S,
    Approval,
    ChatMessage,
    Claim,
    ConversationNode,
    DeadLetter,
    Exchange,
    OutboxCounts,
    Project,
    Resolution,
    Session,
    Ticket,
    TurnEnd,
    TurnFilter,
    TurnKey,
    TurnPage,
    TurnRecord,
    UsageBy,
    UsageRow,
    XoToken,
)
from cowork.stores.limits import OUTBOX_BYTES, REMOVALS_LIMIT
from cowork.stores.memory.approvals import MemoryApprovals
from cowork.stores.memory.claims import MemoryClaims
from cowork.stores.memory.histories import MemoryHistories
from cowork.stores.memory.nodes import MemoryNodes
from cowork.stores.memory.outbox import MemoryOutbox
from cowork.stores.memory.tickets import MemoryTickets
from cowork.stores.memory.usage import MemoryUsage

log = logger(__name__)


class MemoryStore:
    """Everything in dictionaries under one lock, which is never held while anything waits."""

    shared = False
    others = None

    def __init__(self, *, outbox_limit: int = 10_000, outbox_bytes: int = OUTBOX_BYTES) -> None:
        self._lock = threading.Lock()
        self._sessions: dict[Project, Session] = {}
        self._titles: dict[Project, str] = {}
        self._claims = MemoryClaims()
        self._histories = MemoryHistories()
        self._removals: dict[str, None] = {}
        self._approvals = MemoryApprovals()
        self._nodes = MemoryNodes()
        self._usage = MemoryUsage()
        self._tickets = MemoryTickets()
        self._token: XoToken | None = None
        self._outbox = MemoryOutbox(outbox_limit, outbox_bytes)
        self._dropping = False

    def session(self, project: Project) -> Session | None:
        with self._lock:
            return self._sessions.get(project)

    def sessions(self, owner: str) -> list[Session]:
        with self._lock:
            found = [kept for kept in self._sessions.values() if kept.project.owner == owner]
        return [kept for kept in found if not kept.project.is_unnamed]

    def session_count(self) -> int:
        with self._lock:
            return sum(not project.is_unnamed for project in self._sessions)

    def put_session(self, session: Session, claim: Claim) -> bool:
        with self._lock:
            if not self._claims.is_newest(claim) or claim.project != session.project:
                return False
            self._sessions[session.project] = session
            return True

    def titles(self, owner: str) -> dict[str, str]:
        with self._lock:
            found = self._titles.items()
            return {project.name: title for project, title in found if project.owner == owner}

    def put_title(self, project: Project, title: str | None) -> bool:
        with self._lock:
            if project not in self._sessions:
                return False
            self._titles.pop(project, None)
            if title is not None:
                self._titles[project] = title
            return True

    def delete_session(self, project: Project) -> Session | None:
        with self._lock:
            self._claims.void(project)
            self._histories.drop(project)
            self._titles.pop(project, None)
            self._nodes.drop(project)
            found = self._sessions.pop(project, None)
            self._removals |= dict.fromkeys(found.ids if found is not None else ())
            while len(self._removals) > REMOVALS_LIMIT:
                del self._removals[next(iter(self._removals))]
            return found

    def removals(self) -> list[str]:
        with self._lock:
            return list(self._removals)

    def delete_removal(self, session_id: str) -> None:
        with self._lock:
            self._removals.pop(session_id, None)

    def claim(self, project: Project) -> Claim | None:
        with self._lock:
            return self._claims.claim(project)

    def release(self, claim: Claim) -> None:
        with self._lock:
            self._claims.release(claim)

    def claimed_elsewhere(self, project: Project) -> bool:
        del project
        return False  # nobody else knows this store

    def put_turn(
        self, record: TurnRecord, question: ChatMessage | None, key: TurnKey | None
    ) -> None:
        del key
        if question is not None and record.state != "queued":
            self._put_message(question)

    def start_turn(self, record: TurnRecord, question: ChatMessage | None) -> bool:
        del record
        if question is not None:
            self._put_message(question)
        return True

    def end_turn(self, end: TurnEnd) -> bool:
        for message in end.messages:
            self._put_message(message)
        with self._lock:
            self._usage.count(end)
            if end.claim is None or not self._claims.is_newest(end.claim):
                return end.session is None
            if end.session is not None:
                self._sessions[end.session.project] = end.session
            for node in end.nodes:
                self._nodes.put(node, monotonic())
            if end.exchange is not None:
                self._histories.add(end.claim.project, end.exchange)
            return True

    def turn(self, owner: str, turn_id: str) -> None:
        """Nothing: see `Store`."""

    def turns(self, project: Project, wanted: TurnFilter) -> TurnPage:
        del project, wanted
        return TurnPage()

    def find_by_idempotency_key(self, owner: str, key: str) -> None:
        """Nothing: see `Store`."""

    def bind_key(self, key: TurnKey, turn_id: str, *, replaces: bool = False) -> None:
        """Nothing: see `Store`."""

    def forget_turns(self, project: Project) -> None:
        """Nothing: see `Store`."""

    def history(self, project: Project) -> list[Exchange]:
        with self._lock:
            return self._histories.of(project)

    def heartbeat(self) -> None:
        """Nobody else could miss us."""

    def holders(self) -> dict[str, float]:
        return {}

    def release_dead_holder(self, holder: str) -> list[str]:
        del holder
        return []

    def expire(self, limit: int) -> int:
        del limit
        with self._lock:
            self._usage.expire()
        return 0

    def save_turn(self, record: TurnRecord, log: bytes | None, *, parks: bool) -> None:
        """Nothing: see `Store`."""

    def parked_turns(self) -> list[TurnRecord]:
        return []

    def adopt_turn(self, owner: str, turn_id: str) -> None:
        """Nothing: see `Store`."""

    def put_approval(self, approval: Approval) -> bool:
        with self._lock:
            return self._approvals.put(approval)

    def approval(self, approval_id: str) -> Approval | None:
        with self._lock:
            return self._approvals.find(approval_id)

    def approvals(self, owner: str | None, *, pending: bool, limit: int) -> list[Approval]:
        with self._lock:
            return self._approvals.of_owner(owner, pending=pending, limit=limit)

    def resolve_approval(
        self, approval_id: str, resolution: Resolution, answer: Mapping[str, Any]
    ) -> bool:
        with self._lock:
            return self._approvals.resolve(approval_id, resolution, answer)

    def apply_approval(self, approval_id: str, when: datetime) -> None:
        with self._lock:
            self._approvals.apply(approval_id, when)

    def node(self, owner: str, key: str) -> ConversationNode | None:
        with self._lock:
            return self._nodes.find(owner, key, monotonic())

    def node_of_turn(self, owner: str, turn_id: str) -> ConversationNode | None:
        with self._lock:
            return self._nodes.find_by_turn(owner, turn_id, monotonic())

    def expire_nodes(self, unused_s: float, orphaned_s: float, limit: int) -> list[Project]:
        with self._lock:
            self._nodes.expire(monotonic() - unused_s, limit)
            before = datetime.now(UTC) - timedelta(seconds=orphaned_s)
            unused = [
                each.project
                for each in self._sessions.values()
                if each.project.is_unnamed and each.last_used <= before
            ]
            return [each for each in unused if not self._nodes.has(each)][:limit]

    def usage(
        self, owner: str | None, first: date, last: date, by: UsageBy = UsageBy.DAY
    ) -> list[UsageRow]:
        with self._lock:
            return self._usage.sums(owner, first, last, by)

    def put_ticket(self, ticket: Ticket) -> bool:
        now = monotonic()
        with self._lock:
            return self._tickets.put(ticket, now + TICKET_TTL_S, now)

    def use_ticket(self, turn_id: str, digest: str) -> Ticket | None:
        with self._lock:
            return self._tickets.use(turn_id, digest, monotonic())

    def token(self) -> XoToken | None:
        with self._lock:
            return self._token

    def put_token(self, token: XoToken | None) -> None:
        with self._lock:
            self._token = token

    def compare_and_set_token(self, expected: str | None, token: XoToken | None) -> bool:
        with self._lock:
            held = None if self._token is None else self._token.access_token
            if held != expected:
                return False
            self._token = token
            return True

    def _put_message(self, message: ChatMessage) -> None:
        with self._lock:
            self._outbox.put(message)
            dropped = self._outbox.shrink()
            # Once it is full, each message costs another; the counter tells how many.
            news, self._dropping = dropped and not self._dropping, bool(dropped)
        if news:
            log.warning("outbox full, dropping the oldest messages", message_id=dropped[0])

    def waiting_projects(self, limit: int) -> list[Project]:
        with self._lock:
            return self._outbox.projects()[:limit]

    def next_message(self, project: Project) -> ChatMessage | None:
        with self._lock:
            return self._outbox.first(project)

    def note_try(self, message: ChatMessage, *, tried: bool = True) -> None:
        with self._lock:
            self._outbox.note_try(message, tried=tried)

    def delete_message(self, message: ChatMessage) -> None:
        with self._lock:
            self._outbox.take(message)

    def outbox_counts(self) -> OutboxCounts:
        with self._lock:
            return self._outbox.counts()

    def move_to_dead_letters(self, message: ChatMessage, why: str, died: datetime) -> None:
        with self._lock:
            dropped = self._outbox.move_to_dead_letters(message, why, died)
        if dropped is not None:
            log.warning("too many dead letters, oldest dropped", message_id=dropped)

    def dead_letters(self, owner: str) -> list[DeadLetter]:
        with self._lock:
            return [letter for letter, *_ in self._outbox.dead_of(owner)]

    def requeue_dead_letters(self, owner: str) -> int:
        with self._lock:
            return self._outbox.requeue(owner)

    def acquire_delivery_lease(self, holder: str, seconds: float) -> bool:
        with self._lock:
            return self._outbox.acquire_delivery_lease(holder, seconds, monotonic())

    def close(self) -> None:
        """Nothing is held open."""
