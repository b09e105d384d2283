"""What workers that share a store know of each other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar


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
