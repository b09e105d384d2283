"""Headers of every reply: what browsers may do with it, and which other pages may read it."""

from __future__ import annotations

import re
from collections.abc import Callable

from flask import Request, Response
from flask.globals import request_ctx

# Our own, which a page of an allowed origin may read.
EXPOSED = (
    *("Idempotent-Replayed", "Retry-After", "X-Request-ID", "X-Turn-ID"),
    *("request-id", "x-should-retry", "X-Cowork-Project", "X-Session-State", "X-Cowork-Ignored"),
    "X-Error-Code",
)
# SDKs send a dozen headers of their own.
MAX_HEADER_NAMES = 64
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")


def add_security_headers(reply: Response) -> None:
    """Have browsers neither guess what a reply is, nor keep it, nor show it in another's page."""
    reply.headers["X-Content-Type-Options"] = "nosniff"
    reply.headers["Referrer-Policy"] = "no-referrer"  # a query string may have a ticket
    reply.headers.setdefault("Cache-Control", "no-store")
    if reply.mimetype == "text/html":
        reply.headers["X-Frame-Options"] = "DENY"
        # A page of another port of this machine, which counts as the same site, gets no hold of it.
        reply.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        # Browsers look up the names of links that nobody has clicked; a model writes links.
        reply.headers["X-DNS-Prefetch-Control"] = "off"


def add_cors_headers(
    reply: Response, allows: Callable[[str], bool], *, has_allowed_origins: bool
) -> Response:
    """Let pages of the origins that are allowed read the reply."""
    asked = request_ctx.request
    origin = asked.environ.get("HTTP_ORIGIN")
    if origin is not None and allows(origin):
        reply.headers["Access-Control-Allow-Origin"] = origin
        reply.headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED)
        if is_preflight(asked):
            _add_preflight_headers(reply, asked)
    if origin is not None or has_allowed_origins:
        reply.vary.add("Origin")
    return reply


def _add_preflight_headers(reply: Response, asked: Request) -> None:
    """What the page asks for: the methods that the route has, and the headers that it names."""
    adapter = request_ctx.url_adapter
    methods = set(adapter.allowed_methods() if adapter is not None else ()) - {"HEAD", "OPTIONS"}
    if methods:
        reply.headers["Access-Control-Allow-Methods"] = ", ".join(sorted(methods))
    given = asked.headers.get("Access-Control-Request-Headers", "").split(",")
    names = [name.strip() for name in given if _HEADER_NAME.fullmatch(name.strip())]
    if names:
        reply.headers["Access-Control-Allow-Headers"] = ", ".join(names[:MAX_HEADER_NAMES])
    reply.headers["Access-Control-Max-Age"] = "600"
    if "Access-Control-Request-Private-Network" in asked.headers:
        reply.headers["Access-Control-Allow-Private-Network"] = "true"


def is_preflight(caller: Request) -> bool:
    """Whether a browser asks before it lets a page of another site call."""
    asks = "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in caller.environ
    return caller.method == "OPTIONS" and asks and "HTTP_ORIGIN" in caller.environ
