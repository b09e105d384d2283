"""Tells the log and the metrics how processes begin, what they take and why they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cowork.claude.pool.slot import Slot
from cowork.errors import CoworkError
from cowork.log import logger
from cowork.telemetry.catalogue import (
    CLI_ENDS,
    CLI_PROCESS_MEMORY,
    CLI_START_DURATION,
    CLI_STARTS,
)
from cowork.telemetry.metrics import Metrics

log = logger(__name__)


class ProcessReports:
    """Of one pool's processes."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    @contextmanager
    def starting(self, kind: str, given_up: Callable[[], bool]) -> Iterator[None]:
        """Count and time a start of that kind, see `CLI_STARTS`."""
        begun = time.monotonic()
        try:
            yield
        except CoworkError as fault:
            self._metrics.count(CLI_STARTS, kind, "given_up" if given_up() else fault.code)
            raise
        self._metrics.count(CLI_STARTS, kind, "ok")
        self._metrics.observe(CLI_START_DURATION, time.monotonic() - begun, kind)

    def measured(self, taken: int | None) -> None:
        """A process takes so many bytes, its descendants' included."""
        if taken is not None:
            self._metrics.observe(CLI_PROCESS_MEMORY, taken)

    def ended(self, slot: Slot, *, was_alive: bool, is_closing: bool) -> None:
        """Nothing is left of the slot's process; it `was_alive` when it was begun to be ended."""
        process = slot.process
        if process is None:
            return
        code = process.exit_code
        if is_closing:
            why = "shutdown"
        elif was_alive:
            why = slot.end_why or "failed"
        else:
            why = "signal" if code is not None and code < 0 else "died"
        self._metrics.count(CLI_ENDS, why)
        log.info(
            "process ended",
            pid=process.pid,
            project=slot.project.told_name if slot.project is not None else None,
            key=(slot.project.owner or None) if slot.project is not None else None,
            why=why,
            age_s=round(time.monotonic() - process.started),
            turns=process.turns,
            memory=slot.memory,
            exit=code,
        )
