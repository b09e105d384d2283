"""The memory store's approvals; has no lock."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from cowork.model import (
    APPROVALS_KEEP_S,
    APPROVALS_LIMIT,
    APPROVALS_OF_OWNER,
    Approval,
    Resolution,
)

# Of those that wait no more; the oldest go first.
RESOLVED_LIMIT = 10_000


class MemoryApprovals:
    """In the order in which they were made, those that wait apart from those that do not."""

    def __init__(self) -> None:
        self._pending: dict[str, Approval] = {}
        self._resolved: dict[str, Approval] = {}
        self._resolved_at: dict[str, float] = {}

    def put(self, approval: Approval) -> bool:
        """Keep it; whether there was room for one more that waits."""
        of_owner = sum(
            each.project.owner == approval.project.owner for each in self._pending.values()
        )
        if len(self._pending) >= APPROVALS_LIMIT or of_owner >= APPROVALS_OF_OWNER:
            return False
        self._pending[approval.id] = approval
        return True

    def find(self, approval_id: str) -> Approval | None:
        return self._pending.get(approval_id) or self._resolved.get(approval_id)

    def of_owner(self, owner: str | None, *, pending: bool, limit: int) -> list[Approval]:
        found = list(self._pending.values()) if pending else [*reversed(self._resolved.values())]
        return [each for each in found if owner in {None, each.project.owner}][:limit]

    def resolve(self, approval_id: str, resolution: Resolution, answer: Mapping[str, Any]) -> bool:
        """Whether it waited until now."""
        approval = self._pending.pop(approval_id, None)
        if approval is None:
            return False
        self._resolved[approval_id] = replace(
            approval, input={}, suggestions=(), resolution=resolution, answer=answer
        )
        self._resolved_at[approval_id] = time.monotonic()
        self._expire()
        return True

    def apply(self, approval_id: str, when: datetime) -> None:
        approval = self._resolved.get(approval_id)
        if approval is not None:
            self._resolved[approval_id] = replace(approval, answer=None, applied=when)

    def _expire(self) -> None:
        old = time.monotonic() - APPROVALS_KEEP_S
        while self._resolved:
            oldest = next(iter(self._resolved))
            if len(self._resolved) <= RESOLVED_LIMIT and self._resolved_at[oldest] > old:
                return
            del self._resolved[oldest], self._resolved_at[oldest]
