"""Quotas on the bytes of request bodies, and of replies, that are in memory at once.

Both are held for as long as the client likes to take, so all the large ones share a quota each.
Small ones are not counted: connections bound them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import Flask, Response
from flask.globals import app_ctx, request_ctx

from cowork.errors import AtCapacity
from cowork.runtime.quota import SMALL_BODY_BYTES, Quota
from cowork.web.problems import problem


class BodyBytes:
    """The bytes of one request's body, charged until its question waits or is refused."""

    def __init__(self, quota: Quota, owner: str) -> None:
        self._quota = quota
        self._owner = owner
        self._held = 0

    def grow(self, size: int) -> None:
        """The body has `size` bytes now; raises `AtCapacity`."""
        if size > SMALL_BODY_BYTES:
            self._quota.acquire(self._owner, size - self._held, 0)
            self._held = size

    def release(self) -> None:
        """Nobody holds it any more; safe to call twice."""
        held, self._held = self._held, 0
        if held:
            self._quota.release(self._owner, held, 0)


def count_body() -> BodyBytes:
    """Begin to charge this request's body; released with the request at the latest."""
    quota: Quota = app_ctx.app.extensions["cowork"].body_quota
    found = app_ctx.g.body_bytes = BodyBytes(quota, app_ctx.g.owner)
    return found


def release_body() -> None:
    """Stop charging the request's body: what it said is counted elsewhere from now on."""
    if "body_bytes" in app_ctx.g:
        app_ctx.g.body_bytes.release()


def register(app: Flask, replies: Quota) -> None:
    """Count replies until they are written, and bodies no longer than their request."""

    @app.after_request
    def count(reply: Response) -> Response:
        sock: Any = request_ctx.request.environ.get("gunicorn.socket")
        owner = app_ctx.g.owner
        if hasattr(sock, "is_charged"):
            sock.owner = owner  # for the pieces of a stream
        size = 0 if reply.is_streamed else reply.calculate_content_length() or 0
        return reply if size <= SMALL_BODY_BYTES else _charge_reply(reply, replies, owner, size)

    @app.teardown_request
    def forget(_fault: BaseException | None) -> None:
        release_body()


def _charge_reply(reply: Response, replies: Quota, owner: str, size: int) -> Response:
    try:
        replies.acquire(owner, size, 0)
    except AtCapacity as fault:
        reply.close()
        return problem(fault)
    sock: Any = request_ctx.request.environ.get("gunicorn.socket")
    ours = hasattr(sock, "is_charged")
    if ours:
        sock.is_charged = True
    reply.call_on_close(partial(_release_reply, replies, owner, size, sock if ours else None))
    return reply


def _release_reply(replies: Quota, owner: str, size: int, sock: Any) -> None:
    replies.release(owner, size, 0)
    if sock is not None:
        sock.is_charged = False
