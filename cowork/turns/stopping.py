"""Stops turns, and waits until they have said so."""

from __future__ import annotations

import time

from cowork.claude.process.process import INTERRUPT_STEP_S
from cowork.errors import CoworkError
from cowork.turns.turn import Turn

STOP_TIMEOUT_S = INTERRUPT_STEP_S + 0.5


def stop_and_wait(turns: list[Turn], reason: CoworkError) -> None:
    """End the turns, and wait until the last has ended, `STOP_TIMEOUT_S` at most."""
    for turn in turns:
        turn.stop(reason)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    for turn in turns:
        turn.wait(deadline)
