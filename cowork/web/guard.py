"""Who may call: keys, and for callers without one, this machine only.

Decided before a body is read.  Docs and health are no exception, but for `/health/live`.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from flask import Flask, Request, Response, g, request

from cowork.errors import Forbidden, Unauthorized

OPEN = frozenset({"/health/live"})
ANYONE = ""
KEY_LIMIT = 1024
_FORWARDING = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")
_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9a-f:.%]+)\]|(?P<name>[^\[\]:/@\s]+))(?::[0-9]{1,5})?")
_ADVICE = (
    "set COWORK_API_KEYS on the server and send `Authorization: Bearer <key>`, "
    "or call from the machine itself"
)


class Guard:
    """Decides whether a request may go on, and for whom.

    `keys` maps names to keys.  `hosts` and `origins` are what else than this machine's own names
    and pages may stand in `Host` and `Origin`.
    """

    def __init__(
        self, keys: Mapping[str, str], *, hosts: tuple[str, ...], origins: tuple[str, ...]
    ) -> None:
        self._digests = {_digest(key): name for name, key in keys.items()}
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    def owner(self, caller: Request) -> str:
        """The name whose sessions this caller has; raises `Unauthorized` or `Forbidden`."""
        if not self._digests and not _is_local(caller):
            raise Unauthorized(f"only callers on this machine get in without a key: {_ADVICE}")
        self._check_host(caller)
        self._check_origin(caller)
        return self._owner_of_key(caller) if self._digests else ANYONE

    def allows_origin(self, origin: str) -> bool:
        """Whether pages of this origin may call from another site."""
        return origin.lower() in self._origins

    def _owner_of_key(self, caller: Request) -> str:
        given = _key_of(caller)
        if given is None or len(given) > KEY_LIMIT:
            raise Unauthorized("a valid API key is needed: send `Authorization: Bearer <key>`")
        digest = _digest(given)
        # Every key is compared, in constant time, whichever matches.
        owners = [
            name for known, name in self._digests.items() if hmac.compare_digest(known, digest)
        ]
        if not owners:
            raise Unauthorized("a valid API key is needed: send `Authorization: Bearer <key>`")
        return owners[0]

    def _check_host(self, caller: Request) -> None:
        host = _host_name(caller.headers.get("Host", ""))
        if self._hosts:
            allowed = host in self._hosts or _is_loopback_name(host)
        else:
            allowed = bool(self._digests) or _is_loopback_name(host)
        if not allowed:
            raise Forbidden("this Host is not served here; see COWORK_ALLOWED_HOSTS")

    def _check_origin(self, caller: Request) -> None:
        origin = caller.headers.get("Origin")
        if origin is None or self.allows_origin(origin):
            return
        if _authority(origin) != caller.headers.get("Host", "").lower():
            raise Forbidden("pages of this Origin may not call; see COWORK_ALLOWED_ORIGINS")


def register(app: Flask, guard: Guard) -> None:
    """Put the guard in front of every route, and CORS headers on what it allows."""

    @app.before_request
    def check() -> Response | None:
        g.owner = ANYONE
        if request.path in OPEN:
            return None
        if request.method == "OPTIONS" and guard.allows_origin(request.headers.get("Origin", "")):
            return Response(status=204)  # a preflight carries no key
        g.owner = guard.owner(request)
        return None

    @app.after_request
    def allow_origin(reply: Response) -> Response:
        origin = request.headers.get("Origin")
        if origin is not None and guard.allows_origin(origin):
            reply.headers["Access-Control-Allow-Origin"] = origin
            reply.headers["Access-Control-Expose-Headers"] = (
                "X-Request-ID, X-Turn-ID, Idempotent-Replayed, Retry-After"
            )
            if request.method == "OPTIONS":
                reply.headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE"
                reply.headers["Access-Control-Allow-Headers"] = (
                    "Authorization, Content-Type, X-API-Key, Last-Event-ID, Idempotency-Key"
                )
                reply.headers["Access-Control-Max-Age"] = "600"
        if origin is not None:
            reply.vary.add("Origin")
        return reply


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _key_of(caller: Request) -> str | None:
    kind, _, key = caller.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer" and key.strip():
        return key.strip()
    return caller.headers.get("X-API-Key")


def _is_local(caller: Request) -> bool:
    """Whether the caller is on this machine: not merely a proxy that is."""
    if any(name in caller.headers for name in _FORWARDING):
        return False
    try:
        address = ipaddress.ip_address(caller.environ.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    # A socket that serves both families shows IPv4 callers as ::ffff:127.0.0.1.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _host_name(host: str) -> str:
    """The name in a Host header, without its port, lower-case; brackets of IPv6 removed."""
    found = _HOST.fullmatch(host.lower())
    return (found["ipv6"] or found["name"]) if found is not None else ""


def _authority(origin: str) -> str:
    """Name and port of an origin, lower-case; empty for what is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_loopback_name(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
