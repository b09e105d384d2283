"""The Redis store's part for approvals."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cowork.model import Approval, Resolution
from cowork.stores.redis import approval_scripts
from cowork.stores.redis.connection import RedisConnection
from cowork.stores.redis.keys import PREFIX
from cowork.stores.serialization import approval_json, approval_of, dumps, loads, resolution_json

_FIELDS = ["body", "resolution", "answer", "applied"]


class RedisApprovals:
    """Each method is one command or one script."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._run = connection.script

    def put(self, approval: Approval) -> bool:
        """Keep it; whether there was room for one more that waits."""
        arguments = [approval.project.owner, approval.id, approval_json(approval)]
        return bool(self._run(approval_scripts.PUT_APPROVAL, arguments))

    def find(self, approval_id: str) -> Approval | None:
        key = f"{PREFIX}approval:{approval_id}"
        found = self._connection.call(lambda redis: redis.hmget(key, _FIELDS))
        return None if found[0] is None else _approval_of(found)

    def of_owner(self, owner: str | None, *, pending: bool, limit: int) -> list[Approval]:
        arguments = [int(pending), "" if owner is None else f"{owner}\0", limit]
        return [_approval_of(each) for each in self._run(approval_scripts.APPROVALS, arguments)]

    def resolve(self, approval_id: str, resolution: Resolution, answer: Mapping[str, Any]) -> bool:
        """Whether it waited until now; what it was asked is kept no longer."""
        key = f"{PREFIX}approval:{approval_id}"
        body = self._connection.call(lambda redis: redis.hget(key, "body"))
        if body is None:
            return False
        without = dumps({**loads(body), "input": {}, "suggestions": []})
        arguments = [approval_id, resolution_json(resolution), dumps(answer), without]
        return bool(self._run(approval_scripts.RESOLVE_APPROVAL, arguments))

    def apply(self, approval_id: str, when: datetime) -> None:
        self._run(approval_scripts.APPLY_APPROVAL, [approval_id, when.isoformat()])


def _approval_of(found: list[bytes | None]) -> Approval:
    body, resolution, answer, applied = found
    assert body is not None  # noqa: S101 - the caller has looked
    return approval_of(body, resolution, answer, None if applied is None else applied.decode())
