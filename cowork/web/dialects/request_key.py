"""By what a request is known when it comes again: never is a question's work done twice.

SDKs ask again by themselves, up to twice, on a lost connection and on many statuses; they send no
idempotency key, but say in `x-stainless-retry-count` how often they have asked.  So each of their
requests is remembered by its digest, and a retry finds the last one's turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

import orjson
from flask import Request
from flask.globals import app_ctx

from cowork.dialects.request import DialectRequest
from cowork.model import TurnKey
from cowork.turns.replays import Replays
from cowork.turns.turn import Turn
from cowork.web.idempotency_header import key_of

RETRY_COUNT = "x-stainless-retry-count"
# How long behind a turn's end a retry still gets its answer.
RETRY_WITHIN = timedelta(minutes=10)
# No client can send it in an `Idempotency-Key`, which is ASCII.
_PREFIX = "§"


@dataclass(frozen=True, slots=True)
class RequestKey:
    """`idempotency_key` is the client's own; `digest_key` what an SDK's retry is known by."""

    idempotency_key: TurnKey | None
    digest_key: TurnKey | None
    is_retry: bool

    @classmethod
    def of(cls, caller: Request, body: dict[str, Any], asked: DialectRequest) -> RequestKey:
        """The key of a request with that body; raises `InvalidBody`."""
        name = None if asked.name is None else asked.name.text
        whole = {"path": caller.path, "name": name, "body": body}
        own = key_of(whole, caller.headers.get("Idempotency-Key"))
        count = caller.headers.get(RETRY_COUNT, "")
        if own is not None or not count.isdecimal():
            return cls(own, None, is_retry=False)
        digest = sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).hexdigest()
        key = TurnKey(app_ctx.g.owner, f"{_PREFIX}{digest}", digest)
        return cls(None, key, is_retry=count.strip("0") != "")

    def find(self, replays: Replays) -> Turn | None:
        """The turn that an earlier try has begun; raises what `Replays.find` does."""
        if self.idempotency_key is not None:
            return replays.find(self.idempotency_key)
        if self.digest_key is not None and self.is_retry:
            return replays.find_recent(self.digest_key, RETRY_WITHIN)
        return None

    def remember(self, replays: Replays, turn: Turn) -> None:
        """The turn has begun: a retry finds it."""
        if self.digest_key is not None:
            replays.remember(self.digest_key, turn)
