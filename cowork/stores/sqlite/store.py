"""The store of one machine: a file, which outlives the server and may be shared by its workers."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cowork.errors import OutboxFull, StoreUnavailable
from cowork.log import logger
from cowork.model import (
    APPROVALS_KEEP_S,
    TICKET_TTL_S,
    Approval,
    ChatMessage,
    Claim,
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
from cowork.stores.held_claims import HeldClaims
from cowork.stores.limits import DEAD_SHARE, LOST_KEEP, OUTBOX_BYTES, OutboxBounds
from cowork.stores.serialization import token_json, token_of
from cowork.stores.sqlite import approvals, claims, outbox, sessions, tickets, turns, usage
from cowork.stores.sqlite import token as token_table
from cowork.stores.sqlite.executor import Durability, Transactions
from cowork.stores.sqlite.schema import is_clear, open_file
from cowork.stores.usage import UsageSums, counted, days, first_kept

log = logger(__name__)
T = TypeVar("T")

# Less free space than this is as good as none.
MIN_FREE_BYTES = 4 * 2**20
# Of what was spent, so many days are read at a time: others want the file too.
USAGE_DAYS = 31


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
        self._encryption = encryption
        self._holder = holder
        self._bounds = OutboxBounds(outbox_limit, outbox_bytes, owners)
        self._dropped = 0
        self._oldest: tuple[str, datetime] | None = None
        self._path = path
        self._held = HeldClaims()
        self._transactions = Transactions(open_file(path, encryption))

    def _read(self, call: Callable[[sqlite3.Connection], T]) -> T:
        return self._transactions.run(call, Durability.READ)

    def _write(self, call: Callable[[sqlite3.Connection], T], *, sync: bool = False) -> T:
        return self._transactions.run(call, Durability.SYNC if sync else Durability.WRITE)

    # -- sessions

    def session(self, project: Project) -> Session | None:
        return self._read(lambda connection: sessions.find(connection, project))

    def sessions(self, owner: str) -> list[Session]:
        return self._read(lambda connection: sessions.of_owner(connection, owner))

    def session_count(self) -> int:
        return self._read(sessions.count)

    def put_session(self, session: Session, claim: Claim) -> bool:
        if claim.project != session.project:
            return False

        def put(connection: sqlite3.Connection) -> bool:
            if not claims.is_newest(connection, claim):
                return False
            if sessions.find(connection, session.project) != session:
                sessions.put(connection, session)
            return True

        return self._write(put)

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
        if not self._held.reserve(project):
            return None
        number: int | None = None
        try:
            number = self._write(lambda connection: claims.put(connection, project, self._holder))
        finally:
            claim = self._held.settle(project, number)
        return claim

    def release(self, claim: Claim) -> None:
        self._held.let_go(claim)
        self._write(lambda connection: claims.release(connection, claim))

    def claimed_elsewhere(self, project: Project) -> bool:
        if self._held.has(project):
            return False
        found = self._read(lambda connection: claims.find(connection, project))
        return found is not None and found[0] != self._holder and time.time() < found[1]

    # -- turns

    def put_turn(
        self, record: TurnRecord, question: ChatMessage | None, key: TurnKey | None
    ) -> tuple[str, str] | None:
        def put(connection: sqlite3.Connection) -> tuple[str, str] | None:
            if question is not None and self._is_full(connection, record.project.owner):
                raise OutboxFull("too many chat messages wait for the Chat API", retry_after=30)
            return turns.put(connection, record, question, key)

        return self._write(put, sync=True)

    def _is_full(self, connection: sqlite3.Connection, owner: str | None = None) -> bool:
        return self._bounds.are_reached(outbox.held(connection, "outbox"), owner)

    def start_turn(self, record: TurnRecord, question: ChatMessage | None) -> bool:
        return self._write(lambda connection: turns.start(connection, record, question))

    def end_turn(self, end: TurnEnd) -> bool:
        def put(connection: sqlite3.Connection) -> bool:
            forget = time.time() + end.keep
            if not turns.end(connection, end.record, end.log, forget):
                return True
            if end.gives_key_back:
                turns.give_key_back(connection, end.record.id)
            usage.count(connection, counted(end))
            outbox.put(connection, end.messages)
            if end.claim is None or not claims.is_newest(connection, end.claim):
                return end.session is None
            if end.session is not None:
                sessions.put(connection, end.session)
            if end.exchange is not None:
                turns.remember(connection, end.claim.project, end.exchange)
            return True

        return self._write(put, sync=True)

    def turn(self, owner: str, turn_id: str) -> tuple[TurnRecord, bytes | None] | None:
        return self._read(lambda connection: turns.find(connection, owner, turn_id))

    def turns(self, project: Project, wanted: TurnFilter) -> TurnPage:
        return self._read(lambda connection: turns.page(connection, project, wanted))

    def find_by_idempotency_key(self, owner: str, key: str) -> tuple[str, str] | None:
        return self._read(lambda connection: turns.find_by_idempotency_key(connection, owner, key))

    def bind_key(self, key: TurnKey, turn_id: str) -> None:
        self._write(lambda connection: turns.bind_key(connection, key, turn_id))

    def forget_turns(self, project: Project) -> None:
        self._write(lambda connection: turns.forget(connection, project), sync=True)

    def history(self, project: Project) -> list[Exchange]:
        return self._read(lambda connection: turns.history(connection, project))

    # -- processes

    def heartbeat(self) -> None:
        self._check_room()
        held = self._held.all()
        self._write(lambda connection: claims.heartbeat(connection, self._holder, held))

    def _check_room(self) -> None:
        """What fits into the file's own pages would not tell that its disk is full."""
        found = os.statvfs(self._path.parent)
        if found.f_bavail * found.f_frsize < MIN_FREE_BYTES:
            raise StoreUnavailable("the store's disk is full", retry_after=5)

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

    # -- what turns have spent

    def usage(
        self, owner: str | None, first: date, last: date, by: UsageBy = UsageBy.DAY
    ) -> list[UsageRow]:
        found = UsageSums(by)
        for part in days(first, last, USAGE_DAYS):
            for key, numbers in self._read(partial(usage.sums, owner=owner, days=part, by=by)):
                found.add(key, numbers)
        return found.rows()

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
        return self._decrypted(self._read(token_table.find))

    def put_token(self, token: XoToken | None) -> None:
        encrypted = self._encrypted(token)
        self._write(lambda connection: token_table.put(connection, encrypted), sync=True)

    def compare_and_set_token(self, expected: str | None, token: XoToken | None) -> bool:
        encrypted = self._encrypted(token)

        def swap(connection: sqlite3.Connection) -> bool:
            held = self._decrypted(token_table.find(connection))
            if (None if held is None else held.access_token) != expected:
                return False
            token_table.put(connection, encrypted)
            return True

        return self._write(swap, sync=True)

    def _encrypted(self, token: XoToken | None) -> str | None:
        return None if token is None else self._encryption.encrypt(token_json(token)).decode()

    def _decrypted(self, encrypted: str | None) -> XoToken | None:
        if encrypted is None:
            return None
        # A server of an earlier version that is just being replaced writes it in clear.
        decrypted = (
            encrypted if is_clear(encrypted) else self._encryption.decrypt(encrypted.encode())
        )
        return None if decrypted is None else token_of(decrypted)

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
        known = self._oldest
        waiting, first, dead = self._read(lambda connection: outbox.counts(connection, known))
        self._oldest = first
        full = self._read(self._is_full)
        oldest = None if first is None else first[1]
        return OutboxCounts(waiting, oldest, dead, dropped=self._dropped, full=full)

    def move_to_dead_letters(self, message: ChatMessage, why: str, died: datetime) -> None:
        dropped = self._write(
            lambda connection: outbox.move_to_dead_letters(
                connection, message.id, why, died, self._bounds.most_bytes // DEAD_SHARE
            ),
            sync=True,
        )
        if dropped:
            self._dropped += len(dropped)
            log.warning("too many dead letters, oldest dropped", message_id=dropped[0])

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
