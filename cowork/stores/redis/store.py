"""The store of many processes and machines: one Redis, a file for each of its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from redis import Redis

from cowork.errors import StoreUnavailable
from cowork.log import logger
from cowork.model import (
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
from cowork.stores.encryption import Encryption
from cowork.stores.limits import OUTBOX_BYTES, OutboxBounds
from cowork.stores.protocol import StoreUnusable
from cowork.stores.redis import usage
from cowork.stores.redis.approvals import RedisApprovals
from cowork.stores.redis.claims import RedisClaims
from cowork.stores.redis.connection import RedisConnection
from cowork.stores.redis.keys import PREFIX, VERSION, too_new
from cowork.stores.redis.nodes import RedisNodes
from cowork.stores.redis.outbox import RedisOutbox
from cowork.stores.redis.sessions import RedisSessions
from cowork.stores.redis.tickets import RedisTickets
from cowork.stores.redis.token import RedisToken
from cowork.stores.redis.turns import RedisTurns
from cowork.stores.redis.workers import RedisWorkers

log = logger(__name__)


class RedisStore:
    """Every method is one command or one script, and bounded by the connection's timeouts.

    `reading` is a second client, whose calls may wait for `RECEIVE_TIMEOUT_S`; without it there
    are no `others`.
    """

    shared = True

    def __init__(
        self,
        client: Redis,
        encryption: Encryption,
        *,
        holder: str,
        reading: Redis | None = None,
        outbox_limit: int = 10_000,
        outbox_bytes: int = OUTBOX_BYTES,
        owners: Callable[[], int] = lambda: 1,
    ) -> None:
        self._connection = connection = RedisConnection(client, PREFIX)
        bounds = OutboxBounds(outbox_limit, outbox_bytes, owners)
        self.others = (
            None
            if reading is None
            else RedisWorkers(connection, reading, encryption, holder=holder)
        )
        self._sessions = RedisSessions(connection)
        self._claims = RedisClaims(connection, holder)
        self._turns = RedisTurns(connection, holder, bounds)
        self._approvals = RedisApprovals(connection)
        self._nodes = RedisNodes(connection)
        self._tickets = RedisTickets(connection)
        self._token = RedisToken(connection, encryption)
        self._outbox = RedisOutbox(connection, bounds)
        try:
            version = connection.call(lambda redis: redis.get(f"{PREFIX}version"))
        except StoreUnavailable as fault:
            log.warning("store unavailable at start", why=fault.message)
            return
        if version is not None and int(version) > VERSION:
            raise StoreUnusable(too_new(version))

    # -- sessions

    def session(self, project: Project) -> Session | None:
        return self._sessions.find(project)

    def sessions(self, owner: str) -> list[Session]:
        return self._sessions.of_owner(owner)

    def session_count(self) -> int:
        return self._sessions.count()

    def put_session(self, session: Session, claim: Claim) -> bool:
        return self._sessions.put(session, claim)

    def titles(self, owner: str) -> dict[str, str]:
        return self._sessions.titles(owner)

    def put_title(self, project: Project, title: str | None) -> bool:
        return self._sessions.put_title(project, title)

    def delete_session(self, project: Project) -> Session | None:
        return self._sessions.delete(project)

    def removals(self) -> list[str]:
        return self._sessions.removals()

    def delete_removal(self, session_id: str) -> None:
        self._sessions.delete_removal(session_id)

    def history(self, project: Project) -> list[Exchange]:
        return self._sessions.history(project)

    # -- claims

    def claim(self, project: Project) -> Claim | None:
        return self._claims.claim(project)

    def release(self, claim: Claim) -> None:
        self._claims.release(claim)

    def claimed_elsewhere(self, project: Project) -> bool:
        return self._claims.claimed_elsewhere(project)

    def heartbeat(self) -> None:
        self._claims.heartbeat()

    def holders(self) -> dict[str, float]:
        return self._claims.holders()

    # -- turns

    def put_turn(
        self, record: TurnRecord, question: ChatMessage | None, key: TurnKey | None
    ) -> tuple[str, str] | None:
        return self._turns.put(record, question, key)

    def start_turn(self, record: TurnRecord, question: ChatMessage | None) -> bool:
        return self._turns.start(record, question)

    def end_turn(self, end: TurnEnd) -> bool:
        return self._turns.end(end)

    def turn(self, owner: str, turn_id: str) -> tuple[TurnRecord, bytes | None] | None:
        return self._turns.find(owner, turn_id)

    def turns(self, project: Project, wanted: TurnFilter) -> TurnPage:
        return self._turns.page(project, wanted)

    def find_by_idempotency_key(self, owner: str, key: str) -> tuple[str, str] | None:
        return self._turns.find_by_idempotency_key(owner, key)

    def bind_key(self, key: TurnKey, turn_id: str, *, replaces: bool = False) -> None:
        self._turns.bind_key(key, turn_id, replaces=replaces)

    def forget_turns(self, project: Project) -> None:
        self._turns.forget(project)

    def release_dead_holder(self, holder: str) -> list[str]:
        return self._turns.release_dead_holder(holder)

    def expire(self, limit: int) -> int:
        return self._turns.expire(limit)

    def save_turn(self, record: TurnRecord, log: bytes | None, *, parks: bool) -> None:
        self._turns.save(record, log, parks=parks)

    def parked_turns(self) -> list[TurnRecord]:
        return self._turns.parked()

    def adopt_turn(self, owner: str, turn_id: str) -> tuple[TurnRecord, bytes | None] | None:
        return self._turns.adopt(owner, turn_id)

    # -- approvals

    def put_approval(self, approval: Approval) -> bool:
        return self._approvals.put(approval)

    def approval(self, approval_id: str) -> Approval | None:
        return self._approvals.find(approval_id)

    def approvals(self, owner: str | None, *, pending: bool, limit: int) -> list[Approval]:
        return self._approvals.of_owner(owner, pending=pending, limit=limit)

    def resolve_approval(
        self, approval_id: str, resolution: Resolution, answer: Mapping[str, Any]
    ) -> bool:
        return self._approvals.resolve(approval_id, resolution, answer)

    def apply_approval(self, approval_id: str, when: datetime) -> None:
        self._approvals.apply(approval_id, when)

    # -- nodes of conversations

    def node(self, owner: str, key: str) -> ConversationNode | None:
        return self._nodes.find(owner, key=key) if key else None

    def node_of_turn(self, owner: str, turn_id: str) -> ConversationNode | None:
        return self._nodes.find(owner, turn_id=turn_id)

    def expire_nodes(self, unused_s: float, orphaned_s: float, limit: int) -> list[Project]:
        return self._nodes.expire(unused_s, orphaned_s, limit)

    # -- usage, tickets, the token

    def usage(
        self, owner: str | None, first: date, last: date, by: UsageBy = UsageBy.DAY
    ) -> list[UsageRow]:
        return usage.sums(self._connection, owner, first, last, by)

    def put_ticket(self, ticket: Ticket) -> bool:
        return self._tickets.put(ticket)

    def use_ticket(self, turn_id: str, digest: str) -> Ticket | None:
        return self._tickets.use(turn_id, digest)

    def token(self) -> XoToken | None:
        return self._token.find()

    def put_token(self, token: XoToken | None) -> None:
        self._token.put(token)

    def compare_and_set_token(self, expected: str | None, token: XoToken | None) -> bool:
        return self._token.compare_and_set(expected, token)

    # -- the outbox

    def waiting_projects(self, limit: int) -> list[Project]:
        return self._outbox.projects(limit)

    def next_message(self, project: Project) -> ChatMessage | None:
        return self._outbox.first(project)

    def note_try(self, message: ChatMessage, *, tried: bool = True) -> None:
        self._outbox.note_try(message, tried=tried)

    def delete_message(self, message: ChatMessage) -> None:
        self._outbox.delete(message)

    def outbox_counts(self) -> OutboxCounts:
        return self._outbox.counts()

    def move_to_dead_letters(self, message: ChatMessage, why: str, died: datetime) -> None:
        self._outbox.move_to_dead_letters(message, why, died)

    def dead_letters(self, owner: str) -> list[DeadLetter]:
        return self._outbox.dead_of(owner)

    def requeue_dead_letters(self, owner: str) -> int:
        return self._outbox.requeue(owner)

    def acquire_delivery_lease(self, holder: str, seconds: float) -> bool:
        return self._outbox.acquire_delivery_lease(holder, seconds)

    def close(self) -> None:
        if self.others is not None:
            self.others.close()
        self._connection.close()
