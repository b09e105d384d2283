"""Waits for the end of a turn, on behalf of a client that may disconnect meanwhile."""

from __future__ import annotations

import math
import time

from flask import request

from cowork.errors import ShuttingDown
from cowork.turns.turn import Turn
from cowork.web.disconnects import Disconnects, Watch
from cowork.web.problems import ClientClosedRequest
from cowork.web.sse import WATCH_AFTER_S

HALF_OPEN_POLL_S = 0.4
IDLE_POLL_S = 60.0


def wait_for_end(turn: Turn, disconnects: Disconnects, until: float = math.inf) -> None:
    """Wait for the end of the turn, which has its own time limits, until `until` (monotonic).

    Raises `ClientClosedRequest`.
    """
    if turn.wait(min(until, time.monotonic() + WATCH_AFTER_S)) is not None:
        return
    if turn.is_given_up:
        raise given_up()
    watch = disconnects.watch(request, turn.wake)
    if watch is None:
        while turn.wait(min(until, time.monotonic() + IDLE_POLL_S)) is None:
            if turn.is_given_up:
                raise given_up()
            if time.monotonic() >= until:
                return
        return
    try:
        _wait_watched(turn, watch, until)
    finally:
        disconnects.unwatch(watch)


def _wait_watched(turn: Turn, watch: Watch, until: float) -> None:
    half_open = False
    while True:
        timeout = HALF_OPEN_POLL_S if half_open else IDLE_POLL_S
        look_again = min(until, time.monotonic() + timeout)
        if turn.wait(look_again, lambda: watch.half_closed) is not None:
            return
        if turn.is_given_up:
            raise given_up()
        if time.monotonic() >= until:
            return
        if not (watch.half_closed or half_open):
            continue
        if watch.probe_closed():
            raise ClientClosedRequest
        # It only reads now; when it disconnects altogether, nothing but a write will tell.
        watch.half_closed, half_open = False, True


def given_up() -> ShuttingDown:
    """The error of a turn that waits for a person, and that this process has let go of."""
    return ShuttingDown("the server is shutting down; the turn goes on after it", retry_after=5)
