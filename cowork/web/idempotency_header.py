"""`Idempotency-Key`: a retry finds what its first try has begun."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from flask import g

from cowork.model import TurnKey
from cowork.web.problems import InvalidBody

MAX_KEY_LENGTH = 255


def key_of(asked: dict[str, Any], given: str | None) -> TurnKey | None:
    """The caller's key for what is asked, None where none is `given`; raises `InvalidBody`."""
    if given is None:
        return None
    if not given.strip() or len(given) > MAX_KEY_LENGTH or not given.isascii():
        sentence = f"Input should be 1 to {MAX_KEY_LENGTH} ASCII characters"
        place = ["header", "Idempotency-Key"]
        raise InvalidBody([{"type": "value_error", "loc": place, "msg": sentence}])
    digest = hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return TurnKey(g.owner, given, digest)
