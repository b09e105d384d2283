"""The store of one machine: a file, which outlives the server and may be shared by its workers."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from cowork.errors import OutboxFull, StoreUnavailable
from cowork.log import logger
from cowork.model import (
    ChatMessage,
    Claim,
    DeadLetter,
    Exchange,
    OutboxCounts,
    Project,
    Session,
    TurnEnd,
    TurnKey,
    TurnRecord,
    Usage,
    XoToken,
)
from cowork.stores.encryption import Encryption
from cowork.stores.held_claims import HeldClaims
from cowork.stores.limits import DEAD_SHARE, LOST_KEEP, OUTBOX_BYTES, REMOVALS_LIMIT, OutboxBounds
from cowork.stores.protocol import CLAIM_TTL_S
from cowork.stores.serialization import dumps, loads, token_json, token_of
from cowork.stores.sqlite import outbox, turns
from cowork.stores.sqlite.executor import Durability, Transactions
from cowork.stores.sqlite.schema import is_clear, open_file

log = logger(__name__)
T = TypeVar("T")

# Less free space than this is as good as none.
MIN_FREE_BYTES = 4 * 2**20
_FIELDS = "id, cwd, created, last_used, turns, cost_usd, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, incomplete, earlier"  # noqa: E501
Row = tuple[str, str, str, str, int, float, int, int, int, int, int, str]


class SqliteStore:
    """Every method is one transaction; those that must outlive the machine wait for the disk."""

    shared = True

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
        return self._read(lambda connection: _session(connection, project))

    def sessions(self, owner: str) -> list[Session]:
        def read(connection: sqlite3.Connection) -> list[Session]:
            rows = connection.execute(
                f"SELECT name, {_FIELDS} FROM sessions WHERE owner = ? ORDER BY place",  # noqa: S608
                (owner,),
            )
            return [_session_of(Project(owner, name), row) for name, *row in rows]

        return self._read(read)

    def session_count(self) -> int:
        return self._read(lambda each: int(_one(each, "SELECT count(*) FROM sessions")))

    def put_session(self, session: Session, claim: Claim) -> bool:
        if claim.project != session.project:
            return False

        def put(connection: sqlite3.Connection) -> bool:
            if not _is_newest(connection, claim):
                return False
            if _session(connection, session.project) != session:
                _put_session(connection, session)
            return True

        return self._write(put)

    def delete_session(self, project: Project) -> Session | None:
        def delete(connection: sqlite3.Connection) -> Session | None:
            found = _session(connection, project)
            # The turn that holds the project keeps it busy, but under a newer number that it
            # does not know: whatever it writes at its end is refused.
            connection.execute(
                "UPDATE claims SET newest = ? WHERE owner = ? AND name = ?",
                (_next_number(connection), project.owner, project.name),
            )
            connection.execute(
                "DELETE FROM sessions WHERE owner = ? AND name = ?", (project.owner, project.name)
            )
            turns.forget_history(connection, project)
            turns.forget(connection, project)
            _put_removals(connection, found.ids if found is not None else ())
            return found

        return self._write(delete, sync=True)

    def removals(self) -> list[str]:
        def read(connection: sqlite3.Connection) -> list[str]:
            rows = connection.execute("SELECT id FROM removals ORDER BY number")
            return [session_id for (session_id,) in rows]

        return self._read(read)

    def delete_removal(self, session_id: str) -> None:
        self._write(
            lambda connection: connection.execute(
                "DELETE FROM removals WHERE id = ?", (session_id,)
            )
        )

    # -- claims

    def claim(self, project: Project) -> Claim | None:
        if not self._held.reserve(project):
            return None
        number: int | None = None
        try:
            number = self._write(lambda connection: _claim(connection, project, self._holder))
        finally:
            claim = self._held.settle(project, number)
        return claim

    def release(self, claim: Claim) -> None:
        self._held.let_go(claim)
        self._write(
            lambda connection: connection.execute(
                "DELETE FROM claims WHERE owner = ? AND name = ? AND given = ?",
                (claim.project.owner, claim.project.name, claim.number),
            )
        )

    def claimed_elsewhere(self, project: Project) -> bool:
        if self._held.has(project):
            return False
        found = self._read(lambda connection: _claim_of(connection, project))
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

    def start_turn(self, record: TurnRecord, question: ChatMessage | None) -> None:
        self._write(lambda connection: turns.start(connection, record, question))

    def end_turn(self, end: TurnEnd) -> bool:
        def put(connection: sqlite3.Connection) -> bool:
            forget = time.time() + end.keep
            if not turns.end(connection, end.record, end.log, forget):
                return True
            if end.gives_key_back:
                turns.give_key_back(connection, end.record.id)
            outbox.put(connection, end.messages)
            if end.claim is None or not _is_newest(connection, end.claim):
                return end.session is None
            if end.session is not None:
                _put_session(connection, end.session)
            if end.exchange is not None:
                turns.remember(connection, end.claim.project, end.exchange)
            return True

        return self._write(put, sync=True)

    def turn(self, owner: str, turn_id: str) -> tuple[TurnRecord, bytes | None] | None:
        return self._read(lambda connection: turns.find(connection, owner, turn_id))

    def find_by_idempotency_key(self, owner: str, key: str) -> tuple[str, str] | None:
        return self._read(lambda connection: turns.find_by_idempotency_key(connection, owner, key))

    def forget_turns(self, project: Project) -> None:
        self._write(lambda connection: turns.forget(connection, project), sync=True)

    def history(self, project: Project) -> list[Exchange]:
        return self._read(lambda connection: turns.history(connection, project))

    # -- processes

    def heartbeat(self) -> None:
        self._check_room()
        claims = self._held.all()

        def write(connection: sqlite3.Connection) -> None:
            now = time.time()
            connection.execute("INSERT OR REPLACE INTO holders VALUES (?, ?)", (self._holder, now))
            connection.executemany(
                "UPDATE claims SET until = ? WHERE owner = ? AND name = ? AND given = ?",
                [
                    (now + CLAIM_TTL_S, each.project.owner, each.project.name, each.number)
                    for each in claims
                ],
            )

        self._write(write)

    def _check_room(self) -> None:
        """What fits into the file's own pages would not tell that its disk is full."""
        found = os.statvfs(self._path.parent)
        if found.f_bavail * found.f_frsize < MIN_FREE_BYTES:
            raise StoreUnavailable("the store's disk is full", retry_after=5)

    def holders(self) -> dict[str, float]:
        def read(connection: sqlite3.Connection) -> dict[str, float]:
            now = time.time()
            never = connection.execute(
                "SELECT holder FROM turns WHERE ended IS NULL UNION SELECT holder FROM claims"
            )
            found = {holder: float("inf") for (holder,) in never}
            beats = connection.execute("SELECT holder, beat FROM holders")
            return {**found, **{holder: max(now - beat, 0.0) for holder, beat in beats}}

        return self._read(read)

    def release_dead_holder(self, holder: str) -> list[str]:
        def bury(connection: sqlite3.Connection) -> list[str]:
            connection.execute("DELETE FROM claims WHERE holder = ?", (holder,))
            connection.execute("DELETE FROM holders WHERE holder = ?", (holder,))
            return turns.lose(connection, holder, time.time() + LOST_KEEP)

        return self._write(bury, sync=True)

    def expire(self, limit: int) -> int:
        return self._write(lambda connection: turns.expire(connection, time.time(), limit))

    # -- the token

    def token(self) -> XoToken | None:
        return self._decrypted(self._read(_token))

    def put_token(self, token: XoToken | None) -> None:
        encrypted = self._encrypted(token)
        self._write(lambda connection: _put_token(connection, encrypted), sync=True)

    def compare_and_set_token(self, expected: str | None, token: XoToken | None) -> bool:
        encrypted = self._encrypted(token)

        def swap(connection: sqlite3.Connection) -> bool:
            held = self._decrypted(_token(connection))
            if (None if held is None else held.access_token) != expected:
                return False
            _put_token(connection, encrypted)
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
        self._write(lambda connection: outbox.drop(connection, message.id))

    def outbox_counts(self) -> OutboxCounts:
        known = self._oldest
        waiting, first, dead = self._read(lambda connection: outbox.counts(connection, known))
        self._oldest = first
        full = self._read(self._is_full)
        oldest = None if first is None else first[1]
        return OutboxCounts(waiting, oldest, dead, dropped=self._dropped, full=full)

    def move_to_dead_letters(self, message: ChatMessage, why: str, died: datetime) -> None:
        dropped = self._write(
            lambda connection: outbox.bury(
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
        return self._write(lambda connection: outbox.revive(connection, owner), sync=True)

    def acquire_delivery_lease(self, holder: str, seconds: float) -> bool:
        return self._write(
            lambda connection: outbox.acquire_delivery_lease(
                connection, holder, seconds, time.time()
            )
        )

    def close(self) -> None:
        self._transactions.close()


def _one(connection: sqlite3.Connection, statement: str) -> int:
    found: int = connection.execute(statement).fetchone()[0]
    return found


def _session(connection: sqlite3.Connection, project: Project) -> Session | None:
    row = connection.execute(
        f"SELECT {_FIELDS} FROM sessions WHERE owner = ? AND name = ?",  # noqa: S608 - constant
        (project.owner, project.name),
    ).fetchone()
    return None if row is None else _session_of(project, row)


def _session_of(project: Project, row: Row) -> Session:
    session_id, cwd, created, last_used, count, cost, *usage, incomplete, earlier = row
    return Session(
        project=project,
        id=session_id,
        cwd=cwd,
        created=datetime.fromisoformat(created),
        last_used=datetime.fromisoformat(last_used),
        turns=count,
        cost_usd=cost,
        usage=Usage(*usage),
        incomplete=bool(incomplete),
        earlier=tuple(loads(earlier)),
    )


def _put_session(connection: sqlite3.Connection, session: Session) -> None:
    fields = _FIELDS.split(", ")
    usage = session.usage
    connection.execute(
        f"INSERT INTO sessions (owner, name, {_FIELDS}) VALUES (?, ?{', ?' * len(fields)})"  # noqa: S608
        " ON CONFLICT (owner, name) DO UPDATE SET "
        + ", ".join(f"{field} = excluded.{field}" for field in fields),
        (
            session.project.owner,
            session.project.name,
            session.id,
            session.cwd,
            session.created.isoformat(),
            session.last_used.isoformat(),
            session.turns,
            session.cost_usd,
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_tokens,
            usage.cache_write_tokens,
            session.incomplete,
            dumps(session.earlier),
        ),
    )


def _put_removals(connection: sqlite3.Connection, ids: Sequence[str]) -> None:
    connection.executemany("INSERT OR IGNORE INTO removals (id) VALUES (?)", [(i,) for i in ids])
    connection.execute(
        "DELETE FROM removals WHERE number NOT IN"
        " (SELECT number FROM removals ORDER BY number DESC LIMIT ?)",
        (REMOVALS_LIMIT,),
    )


def _next_number(connection: sqlite3.Connection) -> int:
    """A number greater than any before; AUTOINCREMENT remembers also those that are gone."""
    number = connection.execute("INSERT INTO numbers DEFAULT VALUES").lastrowid or 0
    connection.execute("DELETE FROM numbers WHERE number < ?", (number,))
    return number


def _claim_of(connection: sqlite3.Connection, project: Project) -> tuple[str, float] | None:
    """Who has claimed the project, and until when."""
    found: tuple[str, float] | None = connection.execute(
        "SELECT holder, until FROM claims WHERE owner = ? AND name = ?",
        (project.owner, project.name),
    ).fetchone()
    return found


def _claim(connection: sqlite3.Connection, project: Project, holder: str) -> int | None:
    now = time.time()
    row = _claim_of(connection, project)
    # One of our own that is not known here is the rest of a call that seemed to fail.
    if row is not None and row[0] != holder and now < row[1]:
        return None
    number = _next_number(connection)
    connection.execute(
        "INSERT OR REPLACE INTO claims (owner, name, holder, given, newest, until)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (project.owner, project.name, holder, number, number, now + CLAIM_TTL_S),
    )
    return number


def _is_newest(connection: sqlite3.Connection, claim: Claim) -> bool:
    row = connection.execute(
        "SELECT newest FROM claims WHERE owner = ? AND name = ?",
        (claim.project.owner, claim.project.name),
    ).fetchone()
    return row is not None and bool(row[0] == claim.number)


def _token(connection: sqlite3.Connection) -> str | None:
    row = connection.execute("SELECT body FROM token").fetchone()
    return None if row is None else str(row[0])


def _put_token(connection: sqlite3.Connection, encrypted: str | None) -> None:
    connection.execute("DELETE FROM token")
    if encrypted is not None:
        connection.execute("INSERT INTO token VALUES (?)", (encrypted,))
