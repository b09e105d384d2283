"""`GET /outbox` and `POST /outbox/retry`: chat messages that wait, and those that were refused."""

from __future__ import annotations

from typing import Any

from flask import g

from cowork.errors import Forbidden
from cowork.history.outbox import Outbox, OutboxStatus
from cowork.model import NO_OWNER, DeadLetter, OutboxCounts
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.schemas.health import OutboxReply, RetryReply
from cowork.web.timestamps import rfc3339


def blueprint(outbox: Outbox) -> CoworkBlueprint:
    """The caller's own dead letters; for callers with a key alone."""
    routes = CoworkBlueprint("outbox", __name__, description="Messages for the Chat API")

    @routes.get("/outbox")
    @routes.response(200, OutboxReply)
    def read_outbox() -> dict[str, Any]:
        """How many messages wait, since when, and which the Chat API refused for good."""
        counts, letters = outbox.dead_letters(_key_owner())
        return {
            **counts_reply(counts),
            "dead": len(letters),
            "dead_letters": [_dead_letter_reply(letter) for letter in letters],
        }

    @routes.post("/outbox/retry")
    @routes.response(200, RetryReply)
    def retry_dead_letters() -> dict[str, Any]:
        """Try the caller's dead letters again, each in its old place in its project's order."""
        return {"success": True, "retried": outbox.requeue_dead_letters(_key_owner())}

    return routes


def _key_owner() -> str:
    """The caller's name; a server without keys has nobody who may see what was said on it."""
    owner: str = g.owner
    if owner == NO_OWNER:
        raise Forbidden("the outbox is for callers with a key: set COWORK_API_KEYS on the server")
    return owner


def status_reply(status: OutboxStatus) -> dict[str, Any]:
    """For `/health`; what the store would tell is null while it is unavailable."""
    return {
        "enabled": status.enabled,
        **counts_reply(status.counts),
        "reachable": status.reachable,
        "wants_login": status.wants_login,
    }


def counts_reply(counts: OutboxCounts | None) -> dict[str, Any]:
    """How many messages wait, of all owners, and since when."""
    if counts is None:
        return dict.fromkeys(("pending", "oldest_age_s", "dead", "dropped"))
    return {
        "pending": counts.waiting,
        "oldest_age_s": counts.oldest_age_s,
        "dead": counts.dead,
        "dropped": counts.dropped,
    }


def _dead_letter_reply(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "project_id": letter.project.name,
        "type": letter.type,
        "status": letter.status,
        "why": letter.why,
        "created_at": rfc3339(letter.created),
        "died_at": rfc3339(letter.died),
    }
