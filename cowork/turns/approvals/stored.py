"""The approvals of one turn in the store: put there, looked at, and closed without an answer."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from cowork.claude.stream_json.permissions import denied
from cowork.errors import StoreUnavailable
from cowork.log import logger
from cowork.model import Approval, Decision, Resolution
from cowork.stores.protocol import Store
from cowork.turns.approvals.answers import NOBODY, NOT_ALLOWED

log = logger(__name__)

UNAVAILABLE = "Nobody could be asked, so this was not allowed."
_TOO_MANY = "Too many questions wait for a person, so this was not allowed."


class StoredApprovals:
    """A store that is unavailable is no error here: what that means for each call is said there."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, approval: Approval) -> str | None:
        """Why nobody can be asked, if so; else it is in the store from now on."""
        try:
            is_kept = self._store.put_approval(approval)
        except StoreUnavailable:
            return UNAVAILABLE
        if is_kept:
            return None
        log.warning("approval denied", turn_id=approval.turn_id, why="too_many")
        return _TOO_MANY

    def resolved(self, approval: Approval) -> Approval | None:
        """The approval, if it waits no more; without the store only time tells."""
        with suppress(StoreUnavailable):
            if time.monotonic() >= expires_at(approval):
                self._store.resolve_approval(approval.id, _resolution("expired"), denied(NOBODY))
            found = self._store.approval(approval.id)
            if found is None:  # the store has lost it: nobody can answer
                return replace(approval, resolution=_resolution("expired"))
            return found if found.resolution is not None else None
        if time.monotonic() >= expires_at(approval):
            return replace(approval, resolution=_resolution("expired"))
        return None

    def close(self, approval: Approval, decision: Decision) -> None:
        """It waits no more, without an answer; else it expires in the store."""
        with suppress(StoreUnavailable):
            self._store.resolve_approval(approval.id, _resolution(decision), denied(NOT_ALLOWED))


def _resolution(decision: Decision) -> Resolution:
    return Resolution(decision, datetime.now(UTC))


def log_resolution(approval: Approval, resolution: Resolution) -> None:
    """Write down what was decided, and by whom."""
    log.info(
        "approval resolved",
        approval_id=approval.id,
        turn_id=approval.turn_id,
        decision=resolution.decision,
        by=resolution.by,
        source=resolution.address,
        tool=approval.tool,
        input_digest=approval.input_digest,
    )


def expires_at(approval: Approval) -> float:
    """When it expires, monotonic."""
    left = (approval.expires - datetime.now(UTC)).total_seconds()
    return time.monotonic() + left
