"""The Redis store's part for claims and the holders' heartbeats."""

from __future__ import annotations

from typing import Any

from cowork.errors import StoreUnavailable
from cowork.model import Claim, Project
from cowork.stores.held_claims import HeldClaims
from cowork.stores.protocol import CLAIM_TTL_S
from cowork.stores.redis import session_scripts
from cowork.stores.redis.connection import RedisConnection
from cowork.stores.redis.keys import VERSION, project_key, too_new


class RedisClaims:
    """The claims of one holder; each method is one script."""

    def __init__(self, connection: RedisConnection, holder: str) -> None:
        self._run = connection.script
        self._holder = holder
        self._held = HeldClaims()

    def claim(self, project: Project) -> Claim | None:
        if not self._held.reserve(project):
            return None
        number: int | None = None
        try:
            arguments = [project_key(project), self._holder, round(CLAIM_TTL_S * 1000)]
            found = self._run(session_scripts.CLAIM, arguments)
            number = None if found is None else int(found)
        finally:
            claim = self._held.settle(project, number)
        return claim

    def release(self, claim: Claim) -> None:
        self._held.let_go(claim)
        self._run(session_scripts.RELEASE, [project_key(claim.project), claim.number])

    def claimed_elsewhere(self, project: Project) -> bool:
        if self._held.has(project):
            return False
        return bool(
            self._run(session_scripts.CLAIMED_ELSEWHERE, [project_key(project), self._holder])
        )

    def heartbeat(self) -> None:
        arguments: list[Any] = [VERSION, self._holder, round(CLAIM_TTL_S * 1000)]
        for claim in self._held.all():
            arguments += [project_key(claim.project), claim.number]
        newer = self._run(session_scripts.HEARTBEAT, arguments)
        if newer is not None:
            raise StoreUnavailable(too_new(newer), retry_after=60)

    def holders(self) -> dict[str, float]:
        found = self._run(session_scripts.HOLDERS)
        pairs = zip(found[::2], found[1::2], strict=True)
        return {
            holder.decode(): float("inf") if silent == b"" else int(silent) / 1000
            for holder, silent in pairs
        }
