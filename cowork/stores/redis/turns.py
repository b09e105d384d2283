"""The Redis store's part for turns, their keys, and the turns of holders that are gone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cowork.errors import OutboxFull, WorkerUnreachable
from cowork.model import (
    APPROVALS_LIMIT,
    ChatMessage,
    Project,
    TurnEnd,
    TurnFilter,
    TurnKey,
    TurnPage,
    TurnPlace,
    TurnRecord,
)
from cowork.stores.limits import (
    KEY_KEEP,
    LATEST_KEY_KEEP,
    LOST_KEEP,
    TURN_PAGE_BYTES,
    TURN_PAGE_SCANNED,
    OutboxBounds,
    remembered,
)
from cowork.stores.redis import turn_scripts
from cowork.stores.redis.connection import RedisConnection
from cowork.stores.redis.keys import PREFIX, microseconds, moment_of, project_key
from cowork.stores.redis.nodes import node_arguments
from cowork.stores.redis.outbox import message_arguments, outbox_limits
from cowork.stores.redis.usage import spending_arguments
from cowork.stores.serialization import exchanges_json, record_json, record_of, session_json

# Keys that are looked at in one go for turns without an index.
_SCANNED = 200


class RedisTurns:
    """Each method is one command or one script, but for those that index turns."""

    def __init__(self, connection: RedisConnection, holder: str, bounds: OutboxBounds) -> None:
        self._connection = connection
        self._run = connection.script
        self._holder = holder
        self._bounds = bounds
        # Where the look for turns without an index is; None when it is over.
        self._cursor: int | None = 0

    def put(
        self, record: TurnRecord, question: ChatMessage | None, key: TurnKey | None
    ) -> tuple[str, str] | None:
        arguments = [
            record.id,
            record.project.owner,
            record.state,
            record.holder,
            record_json(record),
            *message_arguments(question),
            "" if key is None else f"{key.owner}\0{key.key}",
            "" if key is None else key.digest,
            *outbox_limits(self._bounds),
            project_key(record.project),
            microseconds(record.created),
        ]
        found = self._run(turn_scripts.PUT_TURN, arguments)
        if found == b"withdrawn":
            raise WorkerUnreachable("whoever asked has given the question up", retry_after=1)
        if found == b"full":
            raise OutboxFull("too many chat messages wait for the Chat API", retry_after=30)
        return None if found is None else (found[0].decode(), found[1].decode())

    def start(self, record: TurnRecord, question: ChatMessage | None) -> bool:
        arguments = [record.id, record.state, record_json(record), *message_arguments(question)]
        return bool(self._run(turn_scripts.START_TURN, arguments))

    def end(self, end: TurnEnd) -> bool:
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
            project_key(record.project),
            "" if claim is None else claim.number,
            "" if end.session is None else session_json(end.session),
            "" if end.exchange is None else exchanges_json(remembered((), end.exchange)),
            *spending_arguments(end, microseconds(record.created)),
        ]
        for message in end.messages:
            arguments += message_arguments(message)
        arguments += node_arguments(end.nodes)
        return bool(self._run(turn_scripts.END_TURN, arguments))

    def find(self, owner: str, turn_id: str) -> tuple[TurnRecord, bytes | None] | None:
        fields = ["owner", "record", "state", "ended", "log", "holder"]
        found = self._connection.call(lambda redis: redis.hmget(f"{PREFIX}turn:{turn_id}", fields))
        kept_for, body, state, ended, kept, holder = found
        if kept_for is None or kept_for.decode() != owner:
            return None
        return _record_of(body, state, ended, holder), kept

    def page(self, project: Project, wanted: TurnFilter) -> TurnPage:
        before, since = wanted.before, wanted.ended_since
        arguments = [
            project_key(project),
            "" if before is None else microseconds(before.created),
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
        created = moment_of(int(float(at)))
        return TurnPage(records, TurnPlace(created, last.decode()))

    def find_by_idempotency_key(self, owner: str, key: str) -> tuple[str, str] | None:
        turn, digest = self._connection.call(
            lambda redis: redis.hmget(f"{PREFIX}key:{owner}\0{key}", ["turn", "digest"])
        )
        return None if turn is None else (turn.decode(), digest.decode())

    def bind_key(self, key: TurnKey, turn_id: str, *, replaces: bool) -> None:
        # It goes by itself, since its turn may have another.
        keep_ms = round((LATEST_KEY_KEEP if replaces else KEY_KEEP) * 1000)
        arguments = [f"{key.owner}\0{key.key}", turn_id, key.digest, keep_ms, int(replaces)]
        self._run(turn_scripts.BIND_KEY, arguments)

    def forget(self, project: Project) -> None:
        self._run(turn_scripts.FORGET_TURNS, [project_key(project)])

    def _index_turn(self, turn_id: str) -> None:
        """Have a list, and a deletion where it has ended, find a turn that its project does not."""
        body = self._connection.call(lambda redis: redis.hget(f"{PREFIX}turn:{turn_id}", "record"))
        if body is not None:
            record = record_of(body, {})
            created = microseconds(record.created)
            self._run(turn_scripts.INDEX_TURN, [turn_id, project_key(record.project), created])

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

    def save(self, record: TurnRecord, log: bytes | None, *, parks: bool) -> None:
        body = record_json(record)
        holders = self._holder, record.holder, int(parks)
        self._run(turn_scripts.SAVE_TURN, [record.id, record.state, body, log or b"", *holders])

    def parked(self) -> list[TurnRecord]:
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

    def adopt(self, owner: str, turn_id: str) -> tuple[TurnRecord, bytes | None] | None:
        if not self._run(turn_scripts.ADOPT_TURN, [owner, turn_id, self._holder]):
            return None
        return self.find(owner, turn_id)


def _record_of(body: bytes, state: bytes, ended: bytes | None, holder: bytes) -> TurnRecord:
    changes = {"state": state.decode(), "ended": ended.decode() if ended else None}
    if not ended:  # of one that was lost its own holder is kept in the record
        changes["holder"] = holder.decode()
    return record_of(body, changes)
