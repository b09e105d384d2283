"""Events of an answer that nobody takes yet."""

from __future__ import annotations

import time
from collections.abc import Callable

from cowork.events import Emitted
from cowork.runtime.condition import PredicateCondition

# With so many batches the CLI is not read any further, until somebody takes them.
BATCHES_LIMIT = 1000
# As long as that may last; nobody comes later than that.
HELD_TIMEOUT_S = 30.0


class HeldEvents:
    """Stands where `on_events` is to be, and hands on what came before it was."""

    def __init__(self) -> None:
        self._condition = PredicateCondition()
        self._held: list[list[Emitted]] = []
        self._taker: Callable[[list[Emitted]], object] | None = None

    def __call__(self, events: list[Emitted]) -> None:
        """From the reader's thread."""
        with self._condition:
            self._condition.wait_for(
                lambda: self._taker is not None or len(self._held) < BATCHES_LIMIT,
                time.monotonic() + HELD_TIMEOUT_S,
            )
            if self._taker is None:
                self._held.append(events)
            else:
                self._taker(events)

    def hand_to(self, taker: Callable[[list[Emitted]], object]) -> None:
        """All that came so far, and what comes from now on, is that one's."""
        with self._condition:
            held, self._held = self._held, []
            for events in held:
                taker(events)
            self._taker = taker
            self._condition.notify()
