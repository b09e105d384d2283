"""Opens the streams of this worker, and counts how they go on and end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cowork.errors import TurnExpired, TurnNotFound
from cowork.telemetry.catalogue import RELAY_DELAY, STREAM_ENDS, STREAM_RESUMES, STREAMS_OPEN
from cowork.telemetry.metrics import Metrics
from cowork.turns.turn import Turn
from cowork.web.disconnects import Disconnects
from cowork.web.framing import Framing
from cowork.web.problems import InvalidBody
from cowork.web.sse import Stream


class Streams:
    """Silence in a stream is filled every `keepalive` seconds."""

    def __init__(self, disconnects: Disconnects, metrics: Metrics, *, keepalive: float) -> None:
        self._disconnects = disconnects
        self._metrics = metrics
        self._keepalive = keepalive
        self._lock = threading.Lock()
        self._open = 0
        metrics.watch(STREAMS_OPEN, lambda: {(): float(self._open)})

    def open(
        self,
        turn: Turn,
        framing: Framing,
        *,
        after: int = 0,
        is_resume: bool = False,
        preamble: bytes = b"",
    ) -> Stream:
        """A reader of the turn, see `Stream`; `is_resume`: its client has read some of it."""
        if is_resume:
            turn.facts.resumes += 1
            self._metrics.count(STREAM_RESUMES, "live" if turn.done is None else "replay")
        return Stream(
            turn,
            framing,
            keepalive=self._keepalive,
            disconnects=self._disconnects,
            after=after,
            preamble=preamble,
            observer=self,
        )

    @contextmanager
    def resuming(self, given: str | None) -> Iterator[None]:
        """Count it where a client that has read as far as `given` cannot go on."""
        try:
            yield
        except (TurnExpired, TurnNotFound, InvalidBody):
            if given:
                self._metrics.count(STREAM_RESUMES, "refused")
            raise

    # -- what streams tell

    def began(self) -> None:
        with self._lock:
            self._open += 1

    def ended(self, how: str) -> None:
        with self._lock:
            self._open -= 1
        self._metrics.count(STREAM_ENDS, how)

    def wrote(self, delay_s: float) -> None:
        self._metrics.observe(RELAY_DELAY, delay_s)
