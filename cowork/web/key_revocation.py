"""A reply for as long as its key is valid: the key may be removed while it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from flask import Response, request

from cowork.errors import Unauthorized
from cowork.settings.api_keys import ApiKeys, KeyOwner
from cowork.web.problems import problem
from cowork.web.request_log import STREAM_FACTS

NEEDS_KEY = "missing or invalid API key: send `Authorization: Bearer <key>`"
# Of the environ: how a stream of another shape than ours tells an error that ends it.
LAST_FRAMES = "cowork.last_frames"
_KEY_REVOKED = (
    b'data: {"type": "error", "error": "the API key is no longer valid", "code": "unauthorized"}'
    b'\n\ndata: {"done": true, "success": false}\n\n'
)


def revocable(reply: Response, keys: ApiKeys, key_owner: KeyOwner) -> Response:
    """The reply for as long as its key is valid: the key may be removed before its end.

    `cowork.key_is_valid` tells the same to `direct_write.py`.
    """
    if not keys.is_valid(key_owner):
        reply.close()
        return problem(Unauthorized(NEEDS_KEY))
    if reply.mimetype == "text/event-stream":
        request.environ["cowork.key_is_valid"] = partial(keys.is_valid, key_owner)
        environ = request.environ
        reply.response = _while_key_is_valid(reply.response, keys, key_owner, environ)
    return reply


def _while_key_is_valid(
    frames: Iterable[Any], keys: ApiKeys, key_owner: KeyOwner, environ: dict[str, Any]
) -> Iterator[bytes]:
    for frame in frames:
        if not keys.is_valid(key_owner):
            environ[STREAM_FACTS] = {"how": "key_revoked"}
            last_frames = environ.get(LAST_FRAMES)
            yield _KEY_REVOKED if last_frames is None else last_frames(Unauthorized(NEEDS_KEY))
            return
        yield frame
