"""Headers of every reply: what browsers may do with it, and which other pages may read it."""

from __future__ import annotations

from collections.abc import Callable

from flask import Request, Response
from flask.globals import request_ctx


def add_security_headers(reply: Response) -> None:
    """Have browsers neither guess what a reply is, nor keep it, nor show it in another's page."""
    reply.headers["X-Content-Type-Options"] = "nosniff"
    reply.headers["Referrer-Policy"] = "no-referrer"  # a query string may have a ticket
    reply.headers.setdefault("Cache-Control", "no-store")
    if reply.mimetype == "text/html":
        reply.headers["X-Frame-Options"] = "DENY"


def add_cors_headers(
    reply: Response, allows: Callable[[str], bool], *, has_allowed_origins: bool
) -> Response:
    """Let pages of the origins that are allowed read the reply."""
    asked = request_ctx.request
    origin = asked.environ.get("HTTP_ORIGIN")
    if origin is not None and allows(origin):
        reply.headers["Access-Control-Allow-Origin"] = origin
        reply.headers["Access-Control-Expose-Headers"] = (
            "X-Request-ID, X-Turn-ID, Idempotent-Replayed, Retry-After"
        )
        if is_preflight(asked):
            _add_preflight_headers(reply, asked)
    if origin is not None or has_allowed_origins:
        reply.vary.add("Origin")
    return reply


def _add_preflight_headers(reply: Response, asked: Request) -> None:
    reply.headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE"
    reply.headers["Access-Control-Allow-Headers"] = (
        "Authorization, Content-Type, X-API-Key, Last-Event-ID, Idempotency-Key"
    )
    reply.headers["Access-Control-Max-Age"] = "600"
    if "Access-Control-Request-Private-Network" in asked.headers:
        reply.headers["Access-Control-Allow-Private-Network"] = "true"


def is_preflight(caller: Request) -> bool:
    """Whether a browser asks before it lets a page of another site call."""
    asks = "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in caller.environ
    return caller.method == "OPTIONS" and asks and "HTTP_ORIGIN" in caller.environ
