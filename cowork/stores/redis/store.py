"""The store of many processes and machines: one Redis, its steps in `scripts.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from redis import Redis

from cowork.errors import OutboxFull, StoreUnavailable, WorkerUnreachable
from cowork.log import logger
from cowork.model import (
    APPROVALS_LIMIT,
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
    TurnPlace,
    TurnRecord,
    UsageBy,
    UsageRow,
    XoToken,
)
from cowork.stores.encryption import Encryption
from cowork.stores.held_claims import HeldClaims
from cowork.stores.limits import (
    DEAD_LIMIT,
    DEAD_SHARE,
    KEY_KEEP,
    LOST_KEEP,
    OUTBOX_BYTES,
    REMOVALS_LIMIT,
    TURN_PAGE_BYTES,
    TURN_PAGE_SCANNED,
    OutboxBounds,
    remembered,
)
from cowork.stores.protocol import CLAIM_TTL_S, StoreUnusable
from cowork.stores.redis import (
    outbox_scripts,
    session_scripts,
    ticket_scripts,
    turn_scripts,
    usage_scripts,
)
from cowork.stores.redis.approvals import RedisApprovals
from cowork.stores.redis.connection import RedisConnection
from cowork.stores.redis.workers import RedisWorkers
from cowork.stores.redis.workers import project_key as _key
from cowork.stores.serialization import (
    exchanges_json,
    exchanges_of,
    letter_of,
    message_json,
    message_of,
    record_json,
    record_of,
    session_json,
    session_of,
    token_json,
    token_of,
)
from cowork.stores.usage import UsageSums, counted, days, kept_for_s

log = logger(__name__)

# Of how the keys are laid out; a newer one is refused.
VERSION = 2
PREFIX = "cowork:"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SWAPS = 5
# A turn's tickets are kept for twice as long as it can be when it has ended; milliseconds.
_TICKETS_KEEP_MS = round(2000 * KEY_KEEP)
_SCANNED = 200
# Of what was spent, so many days are read at a time: others want Redis too.
_USAGE_DAYS = 10


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
        self._connection = RedisConnection(client, PREFIX)
        self._run = self._connection.script
        self.others = (
            None
            if reading is None
            else RedisWorkers(self._connection, reading, encryption, holder=holder, prefix=PREFIX)
        )
        self._encryption = encryption
        self._holder = holder
        self._approvals = RedisApprovals(self._connection, PREFIX)
        self._bounds = OutboxBounds(outbox_limit, outbox_bytes, owners)
        self._dropped = 0
        self._oldest: tuple[str, datetime] | None = None
        self._held = HeldClaims()
        # Where the look for turns without an index is; None when it is over.
        self._cursor: int | None = 0
        try:
            version = self._connection.call(lambda redis: redis.get(f"{PREFIX}version"))
        except StoreUnavailable as fault:
            log.warning("store unavailable at start", why=fault.message)
            return
        if version is not None and int(version) > VERSION:
            raise StoreUnusable(_too_new(version))

    # -- sessions

    def session(self, project: Project) -> Session | None:
        body = self._connection.call(lambda redis: redis.hget(f"{PREFIX}sessions", _key(project)))
        return None if body is None else session_of(project, body)

    def sessions(self, owner: str) -> list[Session]:
        found = self._run(session_scripts.SESSIONS, [f"{owner}\0"])
        pairs = zip(found[::2], found[1::2], strict=True)
        return [session_of(_project(key), body) for key, body in pairs]

    def session_count(self) -> int:
        return int(self._connection.call(lambda redis: redis.hlen(f"{PREFIX}sessions")))

    def put_session(self, session: Session, claim: Claim) -> bool:
        if claim.project != session.project:
            return False
        arguments = [_key(session.project), claim.number, session_json(session)]
        return bool(self._run(session_scripts.PUT_SESSION, arguments))

    def titles(self, owner: str) -> dict[str, str]:
        found = [each.decode() for each in self._run(session_scripts.TITLES, [f"{owner}\0"])]
        return dict(zip(found[::2], found[1::2], strict=True))

    def put_title(self, project: Project, title: str | None) -> bool:
        return bool(self._run(session_scripts.PUT_TITLE, [_key(project), title or ""]))

    def delete_session(self, project: Project) -> Session | None:
        for _ in range(_SWAPS):
            body = self._connection.call(
                lambda redis: redis.hget(f"{PREFIX}sessions", _key(project))
            )
            found = None if body is None else session_of(project, body)
            ids = () if found is None else found.ids
            arguments = [_key(project), body or b"", REMOVALS_LIMIT, *ids]
            if self._run(session_scripts.DELETE_SESSION, arguments):
                return found
        raise StoreUnavailable("the session changes all the time", retry_after=1)

    def removals(self) -> list[str]:
        found = self._connection.call(lambda redis: redis.zrange(f"{PREFIX}removals", 0, -1))
        return [each.decode() for each in found]

    def delete_removal(self, session_id: str) -> None:
        self._connection.call(lambda redis: redis.zrem(f"{PREFIX}removals", session_id))

    # -- claims

    def claim(self, project: Project) -> Claim | None:
        if not self._held.reserve(project):
            return None
        number: int | None = None
        try:
            arguments = [_key(project), self._holder, round(CLAIM_TTL_S * 1000)]
            found = self._run(session_scripts.CLAIM, arguments)
            number = None if found is None else int(found)
        finally:
            claim = self._held.settle(project, number)
        return claim

    def release(self, claim: Claim) -> None:
        self._held.let_go(claim)
        self._run(session_scripts.RELEASE, [_key(claim.project), claim.number])

    def claimed_elsewhere(self, project: Project) -> bool:
        if self._held.has(project):
            return False
        return bool(self._run(session_scripts.CLAIMED_ELSEWHERE, [_key(project), self._holder]))

    # -- turns

    def put_turn(
        self, record: TurnRecord, question: ChatMessage | None, key: TurnKey | None
    ) -> tuple[str, str] | None:
        arguments = [
            record.id,
            record.project.owner,
            record.state,
            record.holder,
            record_json(record),
            *_message(question),
            "" if key is None else f"{key.owner}\0{key.key}",
            "" if key is None else key.digest,
            *self._limits(),
            _key(record.project),
            _microseconds(record.created),
        ]
        found = self._run(turn_scripts.PUT_TURN, arguments)
        if found == b"withdrawn":
            raise WorkerUnreachable("whoever asked has given the question up", retry_after=1)
        if found == b"full":
            raise OutboxFull("too many chat messages wait for the Chat API", retry_after=30)
        return None if found is None else (found[0].decode(), found[1].decode())

    def _limits(self) -> tuple[int, int, int, int]:
        return self._bounds.most, self._bounds.most_bytes, *self._bounds.share

    def start_turn(self, record: TurnRecord, question: ChatMessage | None) -> bool:
        arguments = [record.id, record.state, record_json(record), *_message(question)]
        return bool(self._run(turn_scripts.START_TURN, arguments))

    def end_turn(self, end: TurnEnd) -> bool:
        record, claim = end.record, end.claim
        ended = "" if record.ended is None else record.ended.isoformat()
        arguments: list[Any] = [
            record.id,
            record.project.owner,
            record.state,
            record.holder,
            record_json(record),
            ended,
            max(round(end.keep * 1000), 1),
            int(end.gives_key_back),
            int(end.log is not None),
            end.log or b"",
            _key(record.project),
            "" if claim is None else claim.number,
            "" if end.session is None else session_json(end.session),
            "" if end.exchange is None else exchanges_json(remembered((), end.exchange)),
            *_spent(end, _microseconds(record.created)),
        ]
        for message in end.messages:
            arguments += _message(message)
        return bool(self._run(turn_scripts.END_TURN, arguments))

    def turn(self, owner: str, turn_id: str) -> tuple[TurnRecord, bytes | None] | None:
        fields = ["owner", "record", "state", "ended", "log", "holder"]
        found = self._connection.call(lambda redis: redis.hmget(f"{PREFIX}turn:{turn_id}", fields))
        kept_for, body, state, ended, kept, holder = found
        if kept_for is None or kept_for.decode() != owner:
            return None
        return _record_of(body, state, ended, holder), kept

    def turns(self, project: Project, wanted: TurnFilter) -> TurnPage:
        before, since = wanted.before, wanted.ended_since
        arguments = [
            _key(project),
            "" if before is None else _microseconds(before.created),
            "" if before is None else before.id,
            wanted.state or "",
            "" if since is None else since.isoformat(),
            wanted.limit,
            TURN_PAGE_BYTES,
            TURN_PAGE_SCANNED,
        ]
        at, last, *told = self._run(turn_scripts.TURNS, arguments)
        fours = zip(told[::4], told[1::4], told[2::4], told[3::4], strict=True)
        records = tuple(_record_of(*each) for each in fours)
        if not last:
            return TurnPage(records)
        created = _EPOCH + timedelta(microseconds=int(float(at)))
        return TurnPage(records, TurnPlace(created, last.decode()))

    def find_by_idempotency_key(self, owner: str, key: str) -> tuple[str, str] | None:
        turn, digest = self._connection.call(
            lambda redis: redis.hmget(f"{PREFIX}key:{owner}\0{key}", ["turn", "digest"])
        )
        return None if turn is None else (turn.decode(), digest.decode())

    def bind_key(self, key: TurnKey, turn_id: str) -> None:
        # It goes by itself, since its turn may have another.
        keep_ms = round(KEY_KEEP * 1000)
        arguments = [f"{key.owner}\0{key.key}", turn_id, key.digest, keep_ms]
        self._run(turn_scripts.BIND_KEY, arguments)

    def forget_turns(self, project: Project) -> None:
        self._run(turn_scripts.FORGET_TURNS, [_key(project)])

    def _index_turn(self, turn_id: str) -> None:
        """Have a list, and a deletion where it has ended, find a turn that its project does not."""
        body = self._connection.call(lambda redis: redis.hget(f"{PREFIX}turn:{turn_id}", "record"))
        if body is not None:
            record = record_of(body, {})
            created = _microseconds(record.created)
            self._run(turn_scripts.INDEX_TURN, [turn_id, _key(record.project), created])

    def history(self, project: Project) -> list[Exchange]:
        found = self._connection.call(
            lambda redis: redis.lrange(f"{PREFIX}history:{_key(project)}", 0, -1)
        )
        return [exchange for each in found for exchange in exchanges_of(each)]

    # -- processes

    def heartbeat(self) -> None:
        arguments: list[Any] = [VERSION, self._holder, round(CLAIM_TTL_S * 1000)]
        for claim in self._held.all():
            arguments += [_key(claim.project), claim.number]
        newer = self._run(session_scripts.HEARTBEAT, arguments)
        if newer is not None:
            raise StoreUnavailable(_too_new(newer), retry_after=60)

    def holders(self) -> dict[str, float]:
        found = self._run(session_scripts.HOLDERS)
        pairs = zip(found[::2], found[1::2], strict=True)
        return {
            holder.decode(): float("inf") if silent == b"" else int(silent) / 1000
            for holder, silent in pairs
        }

    def release_dead_holder(self, holder: str) -> list[str]:
        arguments = [holder, datetime.now(UTC).isoformat(), round(LOST_KEEP * 1000)]
        lost = [each.decode() for each in self._run(turn_scripts.RELEASE_DEAD_HOLDER, arguments)]
        for turn_id in lost:
            self._index_turn(turn_id)
        return lost

    def expire(self, limit: int) -> int:
        """Redis does so by itself; meanwhile the turns of an earlier version get their index.

        Once, a few hundred keys at a time; what a server of that version adds besides is found
        by the next that starts, or is gone in a day.
        """
        begun = self._cursor
        if begun is None:
            return 0
        cursor, found = self._connection.call(
            lambda redis: redis.scan(begun, match=f"{PREFIX}turn:*", count=_SCANNED)
        )
        for each in found:
            self._index_turn(each.decode().removeprefix(f"{PREFIX}turn:"))
        self._cursor = int(cursor) or None
        return 0 if self._cursor is None else limit

    def save_turn(self, record: TurnRecord, log: bytes | None, *, parks: bool) -> None:
        body = record_json(record)
        holders = self._holder, record.holder, int(parks)
        self._run(turn_scripts.SAVE_TURN, [record.id, record.state, body, log or b"", *holders])

    def parked_turns(self) -> list[TurnRecord]:
        found = self._connection.call(lambda redis: redis.smembers(f"{PREFIX}parked"))
        ids = sorted(each.decode() for each in found)[:APPROVALS_LIMIT]
        return [record for each in ids if (record := self._parked(each)) is not None]

    def _parked(self, turn_id: str) -> TurnRecord | None:
        fields = ["record", "state", "ended", "holder"]
        body, state, ended, holder = self._connection.call(
            lambda redis: redis.hmget(f"{PREFIX}turn:{turn_id}", fields)
        )
        is_parked = body is not None and ended is None and holder == b""
        return record_of(body, {"state": state.decode(), "ended": None}) if is_parked else None

    def adopt_turn(self, owner: str, turn_id: str) -> tuple[TurnRecord, bytes | None] | None:
        if not self._run(turn_scripts.ADOPT_TURN, [owner, turn_id, self._holder]):
            return None
        return self.turn(owner, turn_id)

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

    # -- what turns have spent

    def usage(
        self, owner: str | None, first: date, last: date, by: UsageBy = UsageBy.DAY
    ) -> list[UsageRow]:
        found = UsageSums(by)
        for part in days(first, last, _USAGE_DAYS):
            arguments = [by.value, int(owner is None), owner or "", *part]
            told = self._run(usage_scripts.USAGE, arguments)
            for key, numbers in zip(told[::2], told[1::2], strict=True):
                found.add(tuple(key.decode().split("\0")), [*map(float, numbers.split())])
        return found.rows()

    # -- tickets

    def put_ticket(self, ticket: Ticket) -> bool:
        limits = round(TICKET_TTL_S * 1000), ticket.LIMIT, _TICKETS_KEEP_MS
        arguments = [ticket.turn_id, ticket.digest, *limits, ticket.owner, ticket.fingerprint]
        return bool(self._run(ticket_scripts.PUT_TICKET, arguments))

    def use_ticket(self, turn_id: str, digest: str) -> Ticket | None:
        found = self._run(ticket_scripts.USE_TICKET, [turn_id, digest, _TICKETS_KEEP_MS])
        return (
            None if found is None else Ticket(turn_id, digest, *[each.decode() for each in found])
        )

    # -- the token

    def token(self) -> XoToken | None:
        return self._token(self._encrypted_token())

    def put_token(self, token: XoToken | None) -> None:
        encrypted = self._encrypted(token)
        if encrypted:
            self._connection.call(lambda redis: redis.set(f"{PREFIX}token", encrypted))
        else:
            self._connection.call(lambda redis: redis.delete(f"{PREFIX}token"))

    def compare_and_set_token(self, expected: str | None, token: XoToken | None) -> bool:
        new = self._encrypted(token)
        for _ in range(_SWAPS):
            encrypted = self._encrypted_token()
            held = self._token(encrypted)
            if (None if held is None else held.access_token) != expected:
                return False
            if self._run(session_scripts.COMPARE_AND_SET_TOKEN, [encrypted, new]):
                return True
        raise StoreUnavailable("the token changes all the time", retry_after=1)

    def _encrypted_token(self) -> bytes:
        return self._connection.call(lambda redis: redis.get(f"{PREFIX}token")) or b""

    def _encrypted(self, token: XoToken | None) -> bytes:
        return b"" if token is None else self._encryption.encrypt(token_json(token))

    def _token(self, encrypted: bytes) -> XoToken | None:
        decrypted = self._encryption.decrypt(encrypted) if encrypted else None
        return None if decrypted is None else token_of(decrypted)

    # -- the outbox

    def waiting_projects(self, limit: int) -> list[Project]:
        found = self._connection.call(lambda redis: redis.zrange(f"{PREFIX}projects", 0, limit - 1))
        return [_project(each) for each in found]

    def next_message(self, project: Project) -> ChatMessage | None:
        found = self._run(outbox_scripts.NEXT_MESSAGE, [_key(project)])
        return None if found is None else message_of(found[0], tried=bool(found[1]))

    def note_try(self, message: ChatMessage, *, tried: bool = True) -> None:
        self._run(outbox_scripts.NOTE_TRY, [message.id, int(tried)])

    def delete_message(self, message: ChatMessage) -> None:
        self._run(outbox_scripts.DELETE_MESSAGE, [message.id, _key(message.project)])

    def outbox_counts(self) -> OutboxCounts:
        known = self._oldest
        arguments = [*self._limits(), "" if known is None else known[0]]
        waiting, dead, full, *first = self._run(outbox_scripts.OUTBOX_COUNTS, arguments)
        if len(first) > 1:
            known = first[0].decode(), message_of(first[1]).created
        self._oldest = known = known if first else None
        oldest = None if known is None else known[1]
        return OutboxCounts(waiting, oldest, dead, dropped=self._dropped, full=bool(full))

    def move_to_dead_letters(self, message: ChatMessage, why: str, died: datetime) -> None:
        project = message.project
        limits = DEAD_LIMIT, self._bounds.most_bytes // DEAD_SHARE
        arguments = [message.id, _key(project), project.owner, why, died.isoformat(), *limits]
        dropped = self._run(outbox_scripts.MOVE_TO_DEAD_LETTERS, arguments)
        if dropped:
            self._dropped += len(dropped)
            log.warning("too many dead letters, oldest dropped", message_id=dropped[0].decode())

    def dead_letters(self, owner: str) -> list[DeadLetter]:
        found = self._run(outbox_scripts.DEAD_LETTERS, [owner])
        return [
            letter_of(message_of(body), why.decode(), died.decode()) for body, why, died in found
        ]

    def requeue_dead_letters(self, owner: str) -> int:
        return int(self._run(outbox_scripts.REQUEUE_DEAD_LETTERS, [owner]))

    def acquire_delivery_lease(self, holder: str, seconds: float) -> bool:
        arguments = [holder, round(seconds * 1000)]
        return bool(self._run(outbox_scripts.ACQUIRE_DELIVERY_LEASE, arguments))

    def close(self) -> None:
        if self.others is not None:
            self.others.close()
        self._connection.close()


def _project(key: bytes) -> Project:
    owner, _, name = key.decode().partition("\0")
    return Project(owner, name)


def _record_of(body: bytes, state: bytes, ended: bytes | None, holder: bytes) -> TurnRecord:
    changes = {"state": state.decode(), "ended": ended.decode() if ended else None}
    if not ended:  # of one that was lost its own holder is kept in the record
        changes["holder"] = holder.decode()
    return record_of(body, changes)


def _message(message: ChatMessage | None) -> list[str]:
    if message is None:
        return ["", "", ""]
    return [message.id, _key(message.project), message_json(message)]


def _microseconds(moment: datetime) -> int:
    """Since 1970, exactly; a double holds it for two centuries."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _spent(end: TurnEnd, created: int) -> list[str | int]:
    """The arguments of what the turn has spent, and the places that they are counted at."""
    found = counted(end)
    if not found:
        return ["", 0, 0, created]
    day = found[0][0].day
    pairs = (
        (f"{place.name}\0{place.model}", " ".join(map(repr, numbers))) for place, numbers in found
    )
    return [
        day,
        round(kept_for_s(day) * 1000),
        len(found),
        created,
        *(each for pair in pairs for each in pair),
    ]


def _too_new(version: bytes) -> str:
    return (
        f"redis holds state of version {version.decode()}, this server knows {VERSION}: "
        "update the server, or use another database"
    )
