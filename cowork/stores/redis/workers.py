"""What the workers on one Redis know of each other, and tell each other: `WorkerStore`."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from cryptography.fernet import InvalidToken
from redis import Redis

from cowork.errors import StoreUnavailable
from cowork.log import masked
from cowork.model import (
    Claim,
    Message,
    Project,
    PublishedEvents,
    Session,
    TranscriptState,
    WorkerInfo,
)
from cowork.stores.encryption import Encryption
from cowork.stores.limits import KEY_KEEP
from cowork.stores.protocol import CLAIM_TTL_S
from cowork.stores.redis import worker_scripts
from cowork.stores.redis.connection import UNAVAILABLE, RedisConnection
from cowork.stores.redis.keys import PREFIX, project_key
from cowork.stores.serialization import dumps, loads
from cowork.stores.worker_protocol import ASSIGNMENT_TTL_S

# Entries of one stream that are read in one go.
READ_LIMIT = 256
_LEASE_MS = round(CLAIM_TTL_S * 1000)
_ASSIGNED_MS = round(ASSIGNMENT_TTL_S * 1000)
# For how long it is known on which machine an idle project was.
_PLACE_KEEP_MS = 30 * 24 * 3600 * 1000
_EVENTS_KEEP_MS = round(KEY_KEEP * 1000)


class RedisWorkers:
    """Every method is one command or one script, but for `publish`, whose first call is two.

    `reading` is a client of its own, for the one call that waits.
    """

    def __init__(
        self,
        connection: RedisConnection,
        reading: Redis,
        encryption: Encryption,
        *,
        holder: str,
    ) -> None:
        self._connection = connection
        self._run = connection.script
        self._reading = reading
        self._encryption = encryption
        self._holder = holder

    # -- who there is

    def register(self, worker: WorkerInfo) -> None:
        body = asdict(worker)
        del body["silent_s"], body["holder"]
        self._connection.call(
            lambda redis: redis.hset(f"{PREFIX}workers", worker.holder, dumps(body))
        )

    def deregister(self) -> None:
        self._connection.call(lambda redis: redis.hdel(f"{PREFIX}workers", self._holder))

    def workers(self) -> list[WorkerInfo]:
        found = self._run(worker_scripts.WORKERS, [_LEASE_MS])
        threes = zip(found[::3], found[1::3], found[2::3], strict=True)
        return [_worker_of(holder.decode(), int(silent), body) for holder, silent, body in threes]

    def assign(self, project: Project, candidate: str) -> str:
        arguments = [project_key(project), candidate, _ASSIGNED_MS, _PLACE_KEEP_MS, _LEASE_MS]
        holder: bytes | str = self._run(worker_scripts.ASSIGN, arguments)
        return holder.decode() if isinstance(holder, bytes) else holder

    def find_workers(self, project: Project) -> list[str]:
        found = self._run(worker_scripts.FIND_WORKERS, [project_key(project), _LEASE_MS])
        return [each.decode() for each in found]

    # -- what they tell each other

    def send(self, worker: str, message: Message, ttl_s: float = 0.0) -> str | None:
        arguments = [
            worker,
            message.kind,
            message.body,
            message.sender,
            message.number,
            round(ttl_s * 1000),
            _LEASE_MS,
        ]
        entry = self._run(worker_scripts.SEND, arguments)
        return None if entry is None else entry.decode()

    def take(self, messages: Sequence[Message]) -> list[Message]:
        arguments = [self._holder]
        for message in messages:
            arguments += [message.id, message.deadline]
        taken = self._run(worker_scripts.TAKE, arguments)
        return [message for message, ours in zip(messages, taken, strict=True) if ours]

    def withdraw(self, worker: str, message_id: str, turn_id: str = "") -> bool:
        return bool(self._run(worker_scripts.WITHDRAW, [worker, message_id, turn_id]))

    # -- logs of turns that run

    def publish(self, turn_id: str, events: PublishedEvents) -> None:
        name = self._events(turn_id)
        fields: dict[Any, Any] = {"n": events.first, "c": events.codes, "l": events.lines}
        self._connection.call(lambda redis: redis.xadd(name, fields))
        if events.first <= 1:
            self._connection.call(lambda redis: redis.pexpire(name, _EVENTS_KEEP_MS))

    def published(self, turn_id: str, after: str = "0") -> list[PublishedEvents]:
        found: Any = self._connection.call(
            lambda redis: redis.xrange(self._events(turn_id), min=f"({after}")
        )
        return [_events_of(*entry) for entry in found]

    # -- processes

    def acquire_processes(self, machine: str, count: int, limit: int) -> bool:
        arguments = [machine, self._holder, count, limit, _LEASE_MS]
        return bool(self._run(worker_scripts.ACQUIRE_PROCESSES, arguments))

    # -- transcripts

    def transcript_state(self, session_id: str) -> TranscriptState:
        found = self._connection.call(lambda redis: redis.hget(f"{PREFIX}transcripts", session_id))
        size, _, tail = (found or b"0 ").decode().partition(" ")
        return TranscriptState(int(size), tail)

    def put_transcript(
        self,
        session: Session,
        claim: Claim,
        known: TranscriptState,
        new: TranscriptState,
        data: bytes,
    ) -> bool:
        encrypted = self._encryption.encrypt_bytes(zlib.compress(data, 1)) if data else b""
        arguments = [
            project_key(session.project),
            claim.number,
            session.id,
            _state(known),
            _state(new),
            int(new.size != known.size + len(data)),
            encrypted,
            *(session.earlier if not known.size else ()),
        ]
        return bool(self._run(worker_scripts.PUT_TRANSCRIPT, arguments))

    def transcript(self, session_id: str) -> bytes | None:
        found: Any = self._connection.call(
            lambda redis: redis.lrange(f"{PREFIX}transcript:{session_id}", 0, -1)
        )
        try:
            return b"".join(zlib.decompress(self._encryption.decrypt_bytes(each)) for each in found)
        except InvalidToken:
            return None

    # -- what they tell us

    def receive(
        self, after: str, followed: Mapping[str, str], timeout_s: float
    ) -> tuple[list[Message], dict[str, list[PublishedEvents]]]:
        inbox = f"{PREFIX}inbox:{self._holder}"
        places: dict[Any, Any] = {
            inbox: after,
            **{self._events(turn_id): place for turn_id, place in followed.items()},
        }
        try:
            found: Any = self._reading.xread(
                places, count=READ_LIMIT, block=round(timeout_s * 1000)
            )
        except UNAVAILABLE as fault:
            raise StoreUnavailable(f"redis unavailable: {masked(str(fault))}") from fault
        messages: list[Message] = []
        events: dict[str, list[PublishedEvents]] = {}
        for stream, entries in found or ():
            name = stream.decode()
            if name == inbox:
                messages = [_message_of(*entry) for entry in entries]
            else:
                turn_id = name.removeprefix(self._events(""))
                events[turn_id] = [_events_of(*entry) for entry in entries]
        return messages, events

    def close(self) -> None:
        self._reading.close()
        self._reading.connection_pool.disconnect()

    def _events(self, turn_id: str) -> str:
        return f"{PREFIX}events:{turn_id}"


def _state(state: TranscriptState) -> str:
    return f"{state.size} {state.tail}" if state.size else ""


def _worker_of(holder: str, silent_ms: int, body: bytes) -> WorkerInfo:
    told = loads(body)
    known = {name: told[name] for name in WorkerInfo.__slots__ if name in told}
    known["started"] = datetime.fromisoformat(told["started"])
    return replace(WorkerInfo(holder=holder, **known), silent_s=silent_ms / 1000)


def _message_of(entry: bytes, fields: Mapping[bytes, bytes]) -> Message:
    return Message(
        entry.decode(),
        fields[b"k"].decode(),
        fields[b"b"],
        fields[b"r"].decode(),
        fields[b"i"].decode(),
        fields[b"t"].decode(),
    )


def _events_of(entry: bytes, fields: Mapping[bytes, bytes]) -> PublishedEvents:
    if b"e" in fields:
        return PublishedEvents(entry.decode(), is_end=True)
    return PublishedEvents(entry.decode(), int(fields[b"n"]), fields[b"c"], fields[b"l"])
