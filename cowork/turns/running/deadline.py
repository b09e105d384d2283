"""When a turn has to end: its whole time is bounded, or in a stream the CLI's silence."""

from __future__ import annotations

import time

from cowork.claude.process.pending_answer import PendingAnswer
from cowork.errors import ClaudeTimeout
from cowork.turns.turn import Turn


class Deadline:
    """A running turn's; `limit` is what the operator allows, which a request may only shorten."""

    def __init__(self, turn: Turn, limit: float) -> None:
        self._turn = turn
        self._seconds = min(limit, turn.question.timeout or limit)

    def at(self, reply: PendingAnswer | None = None) -> float:
        """When it is, as things stand now; monotonic.  Not while the turn waits for a person."""
        waiting = self._turn.waiting
        if waiting.ids:
            return float("inf")
        if reply is not None and self._turn.question.streaming:
            return max(reply.process.last_activity, waiting.until) + self._seconds
        return (self._turn.started_monotonic or 0.0) + waiting.seconds + self._seconds

    def check(self, reply: PendingAnswer | None = None) -> bool:
        """Stop the turn where it has passed; whether the turn is stopped, for whatever reason."""
        turn = self._turn
        if turn.stop_reason is None and time.monotonic() >= self.at(reply):
            turn.stop(ClaudeTimeout(f"no answer within {self._seconds:g} seconds"))
        return turn.stop_reason is not None
