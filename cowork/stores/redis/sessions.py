"""The Redis store's part for sessions, what was said in them, and removals."""

from __future__ import annotations

from cowork.errors import StoreUnavailable
from cowork.model import Claim, Exchange, Project, Session
from cowork.stores.limits import REMOVALS_LIMIT
from cowork.stores.redis import session_scripts
from cowork.stores.redis.connection import RedisConnection
from cowork.stores.redis.keys import PREFIX, project_key, project_of
from cowork.stores.serialization import exchanges_of, session_json, session_of

# How often a deletion is tried while others write.
_TRIES = 5


class RedisSessions:
    """Each method is one command or one script, but for `delete`."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._run = connection.script

    def find(self, project: Project) -> Session | None:
        body = self._connection.call(
            lambda redis: redis.hget(f"{PREFIX}sessions", project_key(project))
        )
        return None if body is None else session_of(project, body)

    def of_owner(self, owner: str) -> list[Session]:
        found = self._run(session_scripts.SESSIONS, [f"{owner}\0"])
        pairs = zip(found[::2], found[1::2], strict=True)
        found = [(project_of(key), body) for key, body in pairs]
        return [session_of(project, body) for project, body in found if not project.is_unnamed]

    def count(self) -> int:
        call = self._connection.call
        unnamed = call(lambda redis: redis.zcard(f"{PREFIX}unnamed"))
        return int(call(lambda redis: redis.hlen(f"{PREFIX}sessions"))) - int(unnamed)

    def put(self, session: Session, claim: Claim) -> bool:
        if claim.project != session.project:
            return False
        arguments = [project_key(session.project), claim.number, session_json(session)]
        return bool(self._run(session_scripts.PUT_SESSION, arguments))

    def titles(self, owner: str) -> dict[str, str]:
        found = [each.decode() for each in self._run(session_scripts.TITLES, [f"{owner}\0"])]
        return dict(zip(found[::2], found[1::2], strict=True))

    def put_title(self, project: Project, title: str | None) -> bool:
        return bool(self._run(session_scripts.PUT_TITLE, [project_key(project), title or ""]))

    def delete(self, project: Project) -> Session | None:
        for _ in range(_TRIES):
            body = self._connection.call(
                lambda redis: redis.hget(f"{PREFIX}sessions", project_key(project))
            )
            found = None if body is None else session_of(project, body)
            ids = () if found is None else found.ids
            arguments = [project_key(project), body or b"", REMOVALS_LIMIT, *ids]
            if self._run(session_scripts.DELETE_SESSION, arguments):
                return found
        raise StoreUnavailable("the session changes all the time", retry_after=1)

    def removals(self) -> list[str]:
        found = self._connection.call(lambda redis: redis.zrange(f"{PREFIX}removals", 0, -1))
        return [each.decode() for each in found]

    def delete_removal(self, session_id: str) -> None:
        self._connection.call(lambda redis: redis.zrem(f"{PREFIX}removals", session_id))

    def history(self, project: Project) -> list[Exchange]:
        found = self._connection.call(
            lambda redis: redis.lrange(f"{PREFIX}history:{project_key(project)}", 0, -1)
        )
        return [exchange for each in found for exchange in exchanges_of(each)]
