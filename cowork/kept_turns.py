"""Turns by id, while they run and for a while after, and by idempotency key."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from cowork.errors import (
    AtCapacity,
    ClaudeUnavailable,
    IdempotencyMismatch,
    ShuttingDown,
    StoreUnavailable,
    TurnExpired,
    TurnNotFound,
)
from cowork.turns import Turn

# Ended turns kept at most, whatever their retention; older ones are forgotten first.
COUNT_LIMIT = 10_000
BYTES_LIMIT = 256 * 2**20
FORGOTTEN_LIMIT = 100_000
NOT_ASKED = (AtCapacity, ClaudeUnavailable, ShuttingDown, StoreUnavailable)


@dataclass(frozen=True, slots=True)
class Key:
    """A client's `Idempotency-Key` and the digest of the body it came with."""

    owner: str
    key: str
    digest: str


class KeptTurns:
    """Every turn that can still be asked about.

    An ended turn is kept for `retention` seconds, then forgotten; that it once was is remembered
    for the last hundred thousand, so that "expired" can be told from "never was".
    """

    def __init__(self, retention: float) -> None:
        self._retention = retention
        self._lock = threading.Lock()
        self._turns: dict[str, Turn] = {}
        self._keys: dict[tuple[str, str], tuple[str, str]] = {}
        self._key_of: dict[str, tuple[str, str]] = {}
        self._ended: deque[tuple[float, Turn]] = deque()
        self._bytes = 0
        self._forgotten: OrderedDict[str, str] = OrderedDict()

    def find(self, owner: str, turn_id: str) -> Turn:
        """The owner's turn of that id; raises `TurnNotFound` or `TurnExpired`."""
        with self._lock:
            self._expire()
            turn = self._turns.get(turn_id)
            if turn is not None and turn.project.owner == owner:
                return turn
            if self._forgotten.get(turn_id) == owner:
                raise TurnExpired("the turn is no longer kept; see COWORK_TURN_RETENTION")
        raise TurnNotFound("no such turn")

    def once(self, key: Key | None, start: Callable[[], Turn]) -> tuple[Turn, bool]:
        """The turn of that key and whether it was there before; else the one that `start` makes.

        `start` runs under a lock, so that of ten equal requests one makes the turn; it must not
        wait.  Raises `IdempotencyMismatch`, and what `start` raises, with nothing kept.
        """
        with self._lock:
            self._expire()
            known = self._keys.get((key.owner, key.key)) if key is not None else None
            if known is not None and key is not None:
                turn_id, digest = known
                if digest != key.digest:
                    raise IdempotencyMismatch("this Idempotency-Key came with another body")
                return self._turns[turn_id], True
            turn = start()
            self._turns[turn.id] = turn
            if key is not None:
                self._keys[key.owner, key.key] = turn.id, key.digest
                self._key_of[turn.id] = key.owner, key.key
            return turn, False

    def ended(self, turn: Turn) -> None:
        """A turn has ended; its retention begins.

        One that failed before its question was asked gives its key back, so that a retry asks.
        """
        with self._lock:
            if isinstance(turn.error, NOT_ASKED):
                self._keys.pop(self._key_of.pop(turn.id, ("", "")), None)
            self._ended.append((time.monotonic(), turn))
            self._bytes += turn.size
            self._expire()

    def _expire(self) -> None:
        old = time.monotonic() - self._retention
        while self._ended and (
            self._ended[0][0] <= old or len(self._ended) > COUNT_LIMIT or self._bytes > BYTES_LIMIT
        ):
            _, turn = self._ended.popleft()
            self._forget(turn)

    def _forget(self, turn: Turn) -> None:
        self._bytes -= turn.size
        self._turns.pop(turn.id, None)
        self._keys.pop(self._key_of.pop(turn.id, ("", "")), None)
        turn.close()
        self._forgotten[turn.id] = turn.project.owner
        if len(self._forgotten) > FORGOTTEN_LIMIT:
            self._forgotten.popitem(last=False)

    def close(self) -> None:
        """Let go of every log."""
        with self._lock:
            for turn in self._turns.values():
                turn.close()
