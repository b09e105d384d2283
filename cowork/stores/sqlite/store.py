"""The store of one machine: a file, which outlives the server and may be shared by its workers."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from cowork.errors import OutboxFull
from cowork.model import (
    APPROVALS_KEEP_S,
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
from cowork.stores.encryption import Encryption
from cowork.stores.limits import LOST_KEEP, OUTBOX_BYTES, OutboxBounds
from cowork.stores.sqlite import (
    approvals,
    claims,
    nodes,
    outbox,
    sessions,
    tickets,
    turn_end,
    turns,
    usage,
)
from cowork.stores.sqlite.claims import SqliteClaims
from cowork.stores.sqlite.disk_space import check_room
from cowork.stores.sqlite.executor import Transactions
from cowork.stores.sqlite.outbox import BoundedOutbox
from cowork.stores.sqlite.schema import open_file
from cowork.stores.sqlite.token import SqliteToken
from cowork.stores.usage import first_kept


class SqliteStore:
    """Every method is one transaction; those that must outlive the machine wait for the disk."""

    shared = True
    others = None

    def __init__(
        self,
        path: Path,
        encryption: Encryption,
        *,
        holder: str,
        outbox_limit: int = 10_000,
        outbox_bytes: int = OUTBOX_BYTES,
        owners: Callable[[], int] = lambda: 1,
    ) -> None:
        self._holder = holder
        self._path = path
        self._transactions = Transactions(open_file(path, encryption))
        self._read = self._transactions.read
        self._write = self._transactions.write
        self._token = SqliteToken(self._transactions, encryption)
        bounds = OutboxBounds(outbox_limit, outbox_bytes, owners)
        self._outbox = BoundedOutbox(self._transactions, bounds)
        self._claims = SqliteClaims(self._transactions, holder)

    # -- sessions

    def session(self, project: Project) -> Session | None:
        return self._read(lambda connection: sessions.find(connection, project))

    def sessions(self, owner: str) -> list[Session]:
        return self._read(lambda connection: sessions.of_owner(connection, owner))

    def session_count(self) -> int:
        return self._read(sessions.count)

    def put_session(self, session: Session, claim: Claim) -> bool:
        return self._write(lambda connection: sessions.put_claimed(connection, session, claim))

    def titles(self, owner: str) -> dict[str, str]:
        return self._read(lambda connection: sessions.titles(connection, owner))

    def put_title(self, project: Project, title: str | None) -> bool:
        return self._write(lambda connection: sessions.put_title(connection, project, title))

    def delete_session(self, project: Project) -> Session | None:
        def delete(connection: sqlite3.Connection) -> Session | None:
            found = sessions.find(connection, project)
            claims.void(connection, project)
            sessions.delete(connection, project)
            turns.forget_history(connection, project)
            turns.forget(connection, project)
            sessions.put_removals(connection, found.ids if found is not None else ())
            return found

        return self._write(delete, sync=True)

    def removals(self) -> list[str]:
        return self._read(sessions.removals)

    def delete_removal(self, session_id: str) -> None:
        self._write(lambda connection: sessions.delete_removal(connection, session_id))

    # -- claims

    def claim(self, project: Project) -> Claim | None:
        return self._claims.claim(project)

    def release(self, claim: Claim) -> None:
        self._claims.release(claim)

    def claimed_elsewhere(self, project: Project) -> bool:
        return self._claims.claimed_elsewhere(project)

    # -- turns

    def put_turn(
        self, record: TurnRecord, question: ChatMessage | None, key: TurnKey | None
    ) -> tuple[str, str] | None:
        def put(connection: sqlite3.Connection) -> tuple[str, str] | None:
            if question is not None and self._outbox.is_full(connection, record.project.owner):
                raise OutboxFull("too many chat messages wait for the Chat API", retry_after=30)
            return turns.put(connection, record, question, key)

        return self._write(put, sync=True)

    def start_turn(self, record: TurnRecord, question: ChatMessage | None) -> bool:
        return self._write(lambda connection: turns.start(connection, record, question))

    def end_turn(self, end: TurnEnd) -> bool:
        return self._write(lambda connection: turn_end.put(connection, end), sync=True)

    def turn(self, owner: str, turn_id: str) -> tuple[TurnRecord, bytes | None] | None:
        return self._read(lambda connection: turns.find(connection, owner, turn_id))

    def turns(self, project: Project, wanted: TurnFilter) -> TurnPage:
        return self._read(lambda connection: turns.page(connection, project, wanted))

    def find_by_idempotency_key(self, owner: str, key: str) -> tuple[str, str] | None:
        return self._read(lambda connection: turns.find_by_idempotency_key(connection, owner, key))

    def bind_key(self, key: TurnKey, turn_id: str, *, replaces: bool = False) -> None:
        self._write(lambda connection: turns.bind_key(connection, key, turn_id, replaces=replaces))

    def forget_turns(self, project: Project) -> None:
        self._write(lambda connection: turns.forget(connection, project), sync=True)

    def history(self, project: Project) -> list[Exchange]:
        return self._read(lambda connection: turns.history(connection, project))

    # -- processes

    def heartbeat(self) -> None:
        check_room(self._path.parent)
        self._claims.heartbeat()

    def holders(self) -> dict[str, float]:
        return self._read(claims.holders)

    def release_dead_holder(self, holder: str) -> list[str]:
        def release(connection: sqlite3.Connection) -> list[str]:
            claims.release_holder(connection, holder)
            return turns.lose(connection, holder, time.time() + LOST_KEEP)

        return self._write(release, sync=True)

    def expire(self, limit: int) -> int:
        def expire(connection: sqlite3.Connection) -> int:
            approvals.expire(connection, time.time())
            usage.expire(connection, first_kept(), limit)
            return turns.expire(connection, time.time(), limit)

        return self._write(expire)

    def save_turn(self, record: TurnRecord, log: bytes | None, *, parks: bool) -> None:
        self._write(
            lambda connection: turns.save(connection, record, log, self._holder, parks=parks),
            sync=True,
        )

    def parked_turns(self) -> list[TurnRecord]:
        return self._read(turns.parked)

    def adopt_turn(self, owner: str, turn_id: str) -> tuple[TurnRecord, bytes | None] | None:
        return self._write(
            lambda connection: turns.adopt(connection, owner, turn_id, self._holder), sync=True
        )

    # -- approvals

    def put_approval(self, approval: Approval) -> bool:
        return self._write(lambda connection: approvals.put(connection, approval), sync=True)

    def approval(self, approval_id: str) -> Approval | None:
        return self._read(lambda connection: approvals.find(connection, approval_id))

    def approvals(self, owner: str | None, *, pending: bool, limit: int) -> list[Approval]:
        return self._read(
            lambda connection: approvals.of_owner(connection, owner, pending=pending, limit=limit)
        )

    def resolve_approval(
        self, approval_id: str, resolution: Resolution, answer: Mapping[str, Any]
    ) -> bool:
        forget = time.time() + APPROVALS_KEEP_S
        return self._write(
            lambda connection: approvals.resolve(
                connection, approval_id, resolution, answer, forget
            ),
            sync=True,
        )

    def apply_approval(self, approval_id: str, when: datetime) -> None:
        self._write(lambda connection: approvals.apply(connection, approval_id, when))

    # -- nodes of conversations

    def node(self, owner: str, key: str) -> ConversationNode | None:
        return self._find_node(owner, "key", key)

    def node_of_turn(self, owner: str, turn_id: str) -> ConversationNode | None:
        return self._find_node(owner, "turn", turn_id)

    def _find_node(self, owner: str, column: str, value: str) -> ConversationNode | None:
        now = time.time()
        return self._write(lambda connection: nodes.find(connection, owner, column, value, now))

    def expire_nodes(self, unused_s: float, orphaned_s: float, limit: int) -> list[Project]:
        now = time.time()
        return self._write(
            lambda connection: nodes.expire(connection, now, unused_s, orphaned_s, limit)
        )

    # -- what turns have spent

    def usage(
        self, owner: str | None, first: date, last: date, by: UsageBy = UsageBy.DAY
    ) -> list[UsageRow]:
        return usage.of_days(self._transactions, owner, first, last, by)

    # -- tickets

    def put_ticket(self, ticket: Ticket) -> bool:
        now = time.time()
        until = now + TICKET_TTL_S
        return self._write(lambda connection: tickets.put(connection, ticket, until, now))

    def use_ticket(self, turn_id: str, digest: str) -> Ticket | None:
        now = time.time()
        return self._write(lambda connection: tickets.use(connection, turn_id, digest, now))

    # -- the token

    def token(self) -> XoToken | None:
        return self._token.find()

    def put_token(self, token: XoToken | None) -> None:
        self._token.put(token)

    def compare_and_set_token(self, expected: str | None, token: XoToken | None) -> bool:
        return self._token.compare_and_set(expected, token)

    # -- the outbox

    def waiting_projects(self, limit: int) -> list[Project]:
        return self._read(lambda connection: outbox.projects(connection, limit))

    def next_message(self, project: Project) -> ChatMessage | None:
        return self._read(lambda connection: outbox.first(connection, project))

    def note_try(self, message: ChatMessage, *, tried: bool = True) -> None:
        self._write(lambda connection: outbox.note_try(connection, message.id, tried=tried))

    def delete_message(self, message: ChatMessage) -> None:
        self._write(lambda connection: outbox.delete(connection, message.id))

    def outbox_counts(self) -> OutboxCounts:
        return self._outbox.counts()

    def move_to_dead_letters(self, message: ChatMessage, why: str, died: datetime) -> None:
        self._outbox.move_to_dead_letters(message, why, died)

    def dead_letters(self, owner: str) -> list[DeadLetter]:
        return self._read(lambda connection: outbox.dead_of(connection, owner))

    def requeue_dead_letters(self, owner: str) -> int:
        return self._write(lambda connection: outbox.requeue(connection, owner), sync=True)

    def acquire_delivery_lease(self, holder: str, seconds: float) -> bool:
        return self._write(
            lambda connection: outbox.acquire_delivery_lease(
                connection, holder, seconds, time.time()
            )
        )

    def close(self) -> None:
        self._transactions.close()
