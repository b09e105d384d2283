"""How a worker ends without losing turns: connections first, then turns, then what is left.

Turns go on until `SHUTDOWN_MARGIN_S` before the arbiter's timeout; every stream is told how it
ended, and no process stays behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import gevent

from cowork.server.idle_connections import POLL_INTERVAL_S, IdleConnections

if TYPE_CHECKING:  # gunicorn's master loads this before gevent patches anything
    from cowork.lifecycle import Services

# The interrupt, the escalation of every process and the last bytes of each stream fit into this.
SHUTDOWN_MARGIN_S = 3.0
FLUSH_TIMEOUT_S = 0.5


def drain_and_close(
    services: Services,
    idle: IdleConnections,
    *,
    graceful_timeout: float,
    is_replaced: bool,
    is_cut_short: Callable[[], bool],
    open_requests: Callable[[], int],
) -> None:
    """End the worker, which accepts no connection any more, in `graceful_timeout` seconds.

    `is_replaced` is whether another worker accepts by now; once it `is_cut_short`, nothing is
    waited for.  `open_requests` is how many are under way.
    """
    begun = time.monotonic()
    # They could not know; whoever connects now gets to the worker that comes after us.
    idle.finish_new(is_cut_short)
    if is_replaced:
        idle.finish_kept(is_cut_short)
    spent = time.monotonic() - begun
    timeout = max(0.0, graceful_timeout - SHUTDOWN_MARGIN_S - spent)
    services.drain(0.0 if is_cut_short() else timeout, is_cut_short)
    _flush_replies(open_requests)
    services.close()


def _flush_replies(open_requests: Callable[[], int]) -> None:
    """Let the last frames get out."""
    deadline = time.monotonic() + FLUSH_TIMEOUT_S
    while open_requests() and time.monotonic() < deadline:
        gevent.sleep(POLL_INTERVAL_S)
