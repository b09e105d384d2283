"""Requests that come again find the turn that the first of them began, and are counted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cowork.errors import IdempotencyMismatch, StoreUnavailable
from cowork.log import logger
from cowork.model import TurnKey
from cowork.telemetry.catalogue import IDEMPOTENT_REPLAYS
from cowork.telemetry.metrics import Metrics
from cowork.turns.registry import TurnRegistry
from cowork.turns.session_change import frees_key
from cowork.turns.turn import Turn

log = logger(__name__)


class Replays:
    """By idempotency keys, and by what of a request is the same each time it is sent."""

    def __init__(self, registry: TurnRegistry, metrics: Metrics) -> None:
        self._registry = registry
        self._metrics = metrics

    def find(self, key: TurnKey) -> Turn | None:
        """The turn that was asked with that key; None where it is yet to be asked.

        Raises `IdempotencyMismatch` and `StoreUnavailable`.
        """
        turn = self._look_up(key)
        return None if turn is None else self._counted(turn)

    def find_recent(self, key: TurnKey, within: timedelta) -> Turn | None:
        """As `find`, of a turn that runs, or has ended within that time."""
        turn = self._look_up(key)
        if turn is None:
            return None
        if turn.ended_at is not None and datetime.now(UTC) - turn.ended_at > within:
            return None
        return self._counted(turn)

    def remember(self, key: TurnKey, turn: Turn) -> None:
        """The key finds this turn from now on.

        The turn has begun: where no other process can be told, it goes on all the same.
        """
        try:
            self._registry.bind_latest(key, turn)
        except StoreUnavailable:
            log.warning("a retry elsewhere will not find its turn", turn_id=turn.id)

    def counting(self, ask: Callable[[], tuple[Turn, bool]]) -> tuple[Turn, bool]:
        """What `ask` gives, a turn and whether it was there before, or raises."""
        try:
            turn, replayed = ask()
        except IdempotencyMismatch:
            self._metrics.count(IDEMPOTENT_REPLAYS, "mismatch")
            raise
        return (self._counted(turn) if replayed else turn), replayed

    def _look_up(self, key: TurnKey) -> Turn | None:
        try:
            turn = self._registry.find_by_key(key)
        except IdempotencyMismatch:
            self._metrics.count(IDEMPOTENT_REPLAYS, "mismatch")
            raise
        return (
            None
            if turn is None or frees_key(turn.error, turn.question.change, was_asked=turn.was_asked)
            else turn
        )

    def _counted(self, turn: Turn) -> Turn:
        how = "attached" if turn.done is None else "replayed"
        self._metrics.count(IDEMPOTENT_REPLAYS, how)
        return turn
