"""The claim on a project: no other process answers it while we do."""

from __future__ import annotations

import time
from collections.abc import Callable

from cowork.errors import StoreUnavailable
from cowork.log import logger
from cowork.model import Claim
from cowork.stores.protocol import Store
from cowork.turns.running.deadline import Deadline
from cowork.turns.turn import Turn

log = logger(__name__)

# How often a project's claim is tried for while another process holds it.  Where projects are
# assigned to workers, that is only one that they are no longer assigned to.
CLAIM_POLL_INTERVAL_S = 0.075
ASSIGNED_POLL_INTERVAL_S = 0.25


def wait_for_claim(
    store: Store, turn: Turn, deadline: Deadline, claimed: Callable[[float], None] = lambda _s: None
) -> Claim:
    """The claim on the turn's project, once no other process holds it.

    `claimed` is told for how many seconds that was waited for.
    Raises the reason where the turn is stopped, as it is at its deadline, and `StoreUnavailable`.
    """
    interval = CLAIM_POLL_INTERVAL_S if store.others is None else ASSIGNED_POLL_INTERVAL_S
    begun = time.monotonic()
    while True:
        turn.check_not_stopped()
        claim = store.claim(turn.project)
        if claim is not None:
            claimed(time.monotonic() - begun)
            return claim
        deadline.check()
        turn.wait(time.monotonic() + interval)


def release_claim(store: Store, claim: Claim) -> None:
    """Let another process answer the project."""
    try:
        store.release(claim)
    except StoreUnavailable as fault:
        # Nobody renews it any more, so that it expires, or ends with our next one.
        log.warning("could not release a project's claim", why=fault.message)
