"""Access: API keys, or loopback clients alone where no key is configured; Host and Origin.

Decided before a body is read.  `/health/live`, and `/health/ready` without its reasons, are for
all: a monitor has no key and any Host.  `/metrics` needs no key from this machine.  What a browser
needs to get to where a key can be typed in is for everybody whom Host and Origin let through;
nothing of it tells of this server.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from flask import Flask, Request, Response, g
from flask.globals import app_ctx, request_ctx
from werkzeug.exceptions import UnsupportedMediaType

from cowork.errors import AccessError, Forbidden, TooManyAttempts, Unauthorized
from cowork.log import logger
from cowork.model import NO_OWNER
from cowork.settings.api_keys import MAX_KEY_CHARS, ApiKeys, KeyOwner
from cowork.telemetry.catalogue import HTTP_REFUSED
from cowork.telemetry.metrics import NO_METRICS, Metrics
from cowork.web.client_address import ClientAddresses
from cowork.web.failed_keys import FailedKeyLimiter
from cowork.web.key_revocation import NEEDS_KEY, revocable
from cowork.web.open_routes import is_link_to_shell, is_open
from cowork.web.problems import UnsupportedContentEncoding
from cowork.web.response_headers import add_cors_headers, add_security_headers, is_preflight
from cowork.web.tickets import Tickets, ticket_of

log = logger(__name__)

PUBLIC_PATHS = frozenset({"/health/live"})
# To callers who may not see its reasons it says yes or no.
READINESS_PATH = "/health/ready"
# Read without a key by callers on this machine.
METRICS_PATH = "/metrics"
_LOOPBACK = frozenset({"localhost", "127.0.0.1"})
_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9a-f:.%]+)\]|(?P<name>[^\[\]:/@\s]+))(?::[0-9]{1,5})?")
_LOOPBACK_ONLY = (
    "no API keys are configured, so only loopback clients are served: set COWORK_API_KEYS "
    "on the server and send `Authorization: Bearer <key>`, or call from the machine itself"
)
# Of Hosts and Origins that are refused, so many are told of in the log, each once.
MAX_LOGGED_SOURCES = 64
MAX_LOGGED_CHARS = 200
_NO_BODY = frozenset({None, "", "0"})
_NOT_ENCODED = frozenset({"", "identity"})


class Guard:
    """Decides whether a request may go on, and for whom.

    `hosts` and `origins` are allowed in `Host` and `Origin` besides this machine's own.
    """

    def __init__(
        self,
        keys: ApiKeys,
        *,
        hosts: tuple[str, ...] = (),
        origins: tuple[str, ...] = (),
        addresses: ClientAddresses | None = None,
        tickets: Tickets | None = None,
    ) -> None:
        self.keys = keys
        self._tickets = tickets
        self._refused: set[tuple[str, str]] = set()
        self.has_allowed_origins = bool(origins)
        self._hosts = frozenset(host.lower().strip("[]") for host in hosts)
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._addresses = addresses or ClientAddresses()
        self._failed_keys = FailedKeyLimiter()

    def admit(self, caller: Request) -> KeyOwner | None:
        """Whose key the caller has sent, None where no keys are configured.

        Raises `Unauthorized`, `TooManyAttempts` or `Forbidden`.
        """
        self.check_source(caller)
        given = ticket_of(caller) if self._tickets is not None else None
        if given is not None:
            return self._admit_ticket(caller, *given)
        return self._authenticate(caller) if self.keys.required else None

    def check_source(self, caller: Request) -> None:
        """Refuse addresses, Hosts and Origins that are not allowed, whatever key they send."""
        environ = caller.environ
        if not self.keys.required and not self._addresses.is_local(environ):
            raise Unauthorized(_LOOPBACK_ONLY)
        self._check_host(environ.get("HTTP_HOST", ""))
        target = environ.get("RAW_URI", "/")
        if not target.startswith("/"):  # `GET http://name/path`: the name counts as a Host
            self._check_host(_authority(target))
        site = None if is_link_to_shell(caller) else environ.get("HTTP_SEC_FETCH_SITE")
        self._check_origin(environ.get("HTTP_ORIGIN"), site, environ.get("HTTP_HOST", "").lower())

    def may_see_reasons(self, caller: Request) -> bool:
        """Whether the caller would be admitted, or is on this machine, with a key or without."""
        try:
            self.admit(caller)
        except AccessError:
            return self.is_local_caller(caller)
        return True

    def is_local_caller(self, caller: Request) -> bool:
        """Whether the caller is on this machine, and no page of another site in its browser."""
        environ = caller.environ
        host = environ.get("HTTP_HOST", "")
        if not (self._addresses.is_local(environ) and _is_loopback_name(_host_name(host))):
            return False
        try:
            self._check_origin(
                environ.get("HTTP_ORIGIN"), environ.get("HTTP_SEC_FETCH_SITE"), host.lower()
            )
        except Forbidden:
            return False
        return True

    def allows_origin(self, origin: str) -> bool:
        """Whether pages of this origin may call from another site."""
        return origin.lower() in self._origins

    def _authenticate(self, caller: Request) -> KeyOwner:
        given = _key_of(caller)
        if not given:
            raise Unauthorized(NEEDS_KEY)
        key_owner = self.keys.find(given) if len(given) <= MAX_KEY_CHARS else None
        if key_owner is None:
            self._record_failure(caller, "wrong API key")
            raise Unauthorized(NEEDS_KEY)
        return key_owner

    def _admit_ticket(self, caller: Request, turn_id: str, ticket: str) -> KeyOwner | None:
        assert self._tickets is not None  # noqa: S101 - there is one only where they are
        if _key_of(caller):
            raise Unauthorized("send a key or a ticket, not both")
        try:
            return self._tickets.admit(turn_id, ticket)
        except Unauthorized:
            self._record_failure(caller, "wrong ticket")
            raise

    def _record_failure(self, caller: Request, why: str) -> None:
        """Count it against the caller's address; raises `TooManyAttempts`."""
        source = self._addresses.source(caller.environ)
        wait = self._failed_keys.record_failure(source)
        if wait is not None:
            raise TooManyAttempts(
                "too many failed authentications from this address", retry_after=wait
            )
        log.warning("authentication failed", why=why, source=source)

    def _check_host(self, given: str) -> None:
        host = _host_name(given)
        if self._hosts:
            allowed = host in self._hosts or _is_loopback_name(host)
        else:
            allowed = _is_loopback_name(host) or (self.keys.required and bool(host))
        if not allowed:
            self._log_refused("COWORK_ALLOWED_HOSTS", given)
            raise _HostNotAllowed("Host not allowed; see COWORK_ALLOWED_HOSTS")

    def _check_origin(self, origin: str | None, site: str | None, host: str) -> None:
        if origin is not None and self.allows_origin(origin):
            return
        foreign = origin is not None and _authority(origin) != host
        if foreign or (site is not None and site.strip().lower() == "cross-site"):
            self._log_refused("COWORK_ALLOWED_ORIGINS", origin or f"Sec-Fetch-Site: {site}")
            raise _OriginNotAllowed("Origin not allowed; see COWORK_ALLOWED_ORIGINS")

    def _log_refused(self, setting: str, given: str) -> None:
        """Say once of each Host and Origin which setting would let it in."""
        refused = setting, given[:MAX_LOGGED_CHARS]
        if refused in self._refused or len(self._refused) >= MAX_LOGGED_SOURCES:
            return
        self._refused.add(refused)
        log.warning("refused a Host or Origin", value=refused[1], allowed_by=setting)


class _HostNotAllowed(Forbidden):
    """The request's Host is none of ours."""


class _OriginNotAllowed(Forbidden):
    """The request comes from a page that may not send it."""


def register(app: Flask, guard: Guard, metrics: Metrics = NO_METRICS) -> None:
    """Put the guard in front of every route, and CORS headers on what it allows."""

    @app.before_request
    def check() -> Response | None:
        try:
            return _admit(guard)
        except AccessError as fault:
            metrics.count(HTTP_REFUSED, _reason_of(fault, request_ctx.request))
            raise

    @app.after_request
    def finish(reply: Response) -> Response:
        if guard.keys.reloadable and g.get("key_owner") is not None:
            reply = revocable(reply, guard.keys, g.key_owner)
        add_security_headers(reply)
        has_allowed = guard.has_allowed_origins
        return add_cors_headers(reply, guard.allows_origin, has_allowed_origins=has_allowed)


def _admit(guard: Guard) -> Response | None:
    """Let the request go on, with whose it is in `g`; a reply where it needs no more."""
    asked, kept = request_ctx.request, app_ctx.g
    kept.owner, kept.key_owner = NO_OWNER, None
    if asked.path in PUBLIC_PATHS:
        return None
    if asked.path == READINESS_PATH and asked.method in {"GET", "HEAD"}:
        kept.hides_reasons = not guard.may_see_reasons(asked)
        return None
    kept.is_local_reader = asked.path == METRICS_PATH and guard.is_local_caller(asked)
    if kept.is_local_reader and asked.method in {"GET", "HEAD"}:
        return None
    if is_open(asked):
        guard.check_source(asked)
        return None
    if is_preflight(asked) and guard.allows_origin(asked.headers["Origin"]):
        guard.check_source(asked)
        return Response(status=204)  # it carries no key
    kept.key_owner = guard.admit(asked)
    kept.owner = kept.key_owner.name if kept.key_owner is not None else NO_OWNER
    _check_type(asked)
    return None


def _reason_of(fault: AccessError, caller: Request) -> str:
    """Why a request was refused, as the metrics name it."""
    if isinstance(fault, _HostNotAllowed):
        return "host"
    if isinstance(fault, _OriginNotAllowed):
        return "origin"
    if isinstance(fault, TooManyAttempts):
        return "too_many"
    return "wrong_key" if _key_of(caller) or ticket_of(caller) else "no_key"


def _check_type(caller: Request) -> None:
    """Refuse a body that does not call itself JSON, or is compressed, on routes that take none too.

    A page of another site can send any other type without asking first.
    """
    environ = caller.environ
    if caller.url_rule is None or caller.method in {"GET", "HEAD", "OPTIONS"}:
        return
    if environ.get("CONTENT_LENGTH") in _NO_BODY and "HTTP_TRANSFER_ENCODING" not in environ:
        return
    if not caller.is_json:
        raise UnsupportedMediaType
    if environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() not in _NOT_ENCODED:
        raise UnsupportedContentEncoding


def _key_of(caller: Request) -> str | None:
    kind, _, key = caller.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if kind.lower() == "bearer" and key.strip():
        return str(key).strip()
    return caller.headers.get("X-API-Key")


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
    if name in _LOOPBACK:  # nearly always; to read an address takes longer
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
