"""The XO browser login as the upstream offers it; what it answers is checked before it is used.

An answer in which the token that was sent comes back is wrong too: it would reach a client.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

from cowork.errors import (
    BadUpstream,
    CoworkError,
    StoreUnavailable,
    UpstreamRefused,
    UpstreamTimeout,
)
from cowork.log import masked
from cowork.upstream.http import Reply, Request, UpstreamClient, segment

_MAX_LIFETIME_S = 10 * 365 * 86400
_MAX_SHOWN_BYTES = 2000
_TOKEN = re.compile(r"[!-~]*")  # what can stand in a header behind "Bearer "
_WORDS = re.compile(r"[^\x00-\x1f\x7f-\x9f]*")
_TOKEN_LENGTH = 16 * 1024
_NAME_LENGTH = 1024
_SCOPE_LENGTH = 4096
_URL_LENGTH = 8192
_MASKABLE = 8
_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


@dataclass(frozen=True, slots=True)
class Grant:
    """What a completed login hands over; `expires_in` is seconds, None where no end was named."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: float | None
    user_id: str | None
    auth_session_id: str | None
    scope: str | None


class XoUpstream(Protocol):
    """The login's calls; `token` is sent along where one is held.

    Errors of each: `UpstreamRefused` (its 4xx), `BadUpstream` (5xx, a redirect, or an answer that
    cannot be right), `UpstreamTimeout`.
    """

    def start(self, scopes: Any, client_reference: Any, *, token: str | None) -> dict[str, Any]:
        """Begin a login; the upstream's JSON object as it is."""

    def status(self, auth_session_id: str, poll_token: str, *, token: str | None) -> dict[str, Any]:
        """How far a login is; the upstream's JSON object as it is."""

    def consume(self, auth_session_id: str, poll_token: str, *, token: str | None) -> Grant:
        """Take the tokens of a completed login; works once per login."""

    def user_id(self, token: str) -> str:
        """Whose token this is."""

    def refresh(self, refresh_token: str) -> Grant | None:
        """A new grant for an old one's refresh token; None where the upstream offers no such."""


@dataclass(frozen=True, slots=True)
class XoPaths:
    """The paths of the calls, each beginning with a slash; `refresh` where there is such."""

    start: str = "/auth/browser/start"
    status: str = "/auth/browser/status"
    consume: str = "/auth/browser/consume"
    user_id: str = "/get-user-id"
    refresh: str | None = None


XO_PATHS = XoPaths()


class XoAuthApi:
    """The real one."""

    def __init__(self, client: UpstreamClient, paths: XoPaths = XO_PATHS) -> None:
        self._client = client
        self._paths = paths

    def _call(self, *request: Any, **options: Any) -> Reply:
        return self._client.call(Request(*request, **options))

    def start(self, scopes: Any, client_reference: Any, *, token: str | None) -> dict[str, Any]:
        body = {"scopes": scopes, "client_reference": client_reference}
        found = _object(self._call("POST", self._paths.start, body=body, token=token), token)
        _check_link(found.get("authorize_url"))
        return _passed_on(found, token)

    def status(self, auth_session_id: str, poll_token: str, *, token: str | None) -> dict[str, Any]:
        path = f"{self._paths.status}/{segment(auth_session_id)}"
        rule, query = f"{self._paths.status}/{{id}}", {"poll_token": poll_token}
        reply = self._call("GET", path, query=query, token=token, rule=rule)
        return _passed_on(_object(reply, token, poll_token), token)

    def consume(self, auth_session_id: str, poll_token: str, *, token: str | None) -> Grant:
        body = {"auth_session_id": auth_session_id, "poll_token": poll_token}
        reply = self._call("POST", self._paths.consume, body=body, token=token)
        return _grant(_object(reply, token, poll_token), token)

    def user_id(self, token: str) -> str:
        reply = self._call("GET", self._paths.user_id, token=token)
        found = _text(_object(reply, token), "user_id", _NAME_LENGTH, _WORDS)
        if found is None:
            _raise_unusable("user_id")
        return found

    def refresh(self, refresh_token: str) -> Grant | None:
        if self._paths.refresh is None:
            return None
        body = {"refresh_token": refresh_token}
        reply = self._call("POST", self._paths.refresh, body=body)
        # The refresh token may come back: some upstreams let it be used again.
        return _grant(_object(reply, refresh_token), refresh_token)


class DisabledXoAuthApi:
    """What stands in where `CHAT_API_BASE_URL` is empty: every call raises `BadUpstream`."""

    def start(self, scopes: Any, client_reference: Any, *, token: str | None) -> dict[str, Any]:  # noqa: ARG002
        _raise_disabled()

    def status(self, auth_session_id: str, poll_token: str, *, token: str | None) -> dict[str, Any]:  # noqa: ARG002
        _raise_disabled()

    def consume(self, auth_session_id: str, poll_token: str, *, token: str | None) -> Grant:  # noqa: ARG002
        _raise_disabled()

    def user_id(self, token: str) -> str:  # noqa: ARG002 - the real one's signature
        _raise_disabled()

    def refresh(self, refresh_token: str) -> Grant | None:  # noqa: ARG002
        return None


def is_transient(fault: CoworkError) -> bool:
    """Whether the same call may succeed a little later."""
    if isinstance(fault, UpstreamRefused):
        return fault.status in _TRANSIENT
    return isinstance(fault, BadUpstream | UpstreamTimeout | StoreUnavailable)


def _raise_disabled() -> NoReturn:
    raise BadUpstream("CHAT_API_BASE_URL is empty, so the XO login is off")


def _raise_unusable(key: str) -> NoReturn:
    raise BadUpstream(f"the upstream's answer has no usable {key}")


def _grant(found: dict[str, Any], sent: str | None) -> Grant:
    access_token = _text(found, "access_token", _TOKEN_LENGTH, _TOKEN)
    if access_token is None:
        _raise_unusable("access_token")
    refresh_token = _text(found, "refresh_token", _TOKEN_LENGTH, _TOKEN)
    secrets = (access_token, refresh_token, sent)
    return Grant(
        access_token=access_token,
        refresh_token=refresh_token,
        expires_in=_lifetime(found),
        user_id=_name(found, "user_id", _NAME_LENGTH, secrets),
        auth_session_id=_name(found, "auth_session_id", _NAME_LENGTH, secrets),
        scope=_name(found, "scope", _SCOPE_LENGTH, secrets),
    )


def _name(
    found: dict[str, Any], key: str, limit: int, secrets: tuple[str | None, ...]
) -> str | None:
    """The text at `key`, which clients are shown, so that it must hold none of `secrets`."""
    name = _text(found, key, limit, _WORDS)
    if name is not None and holds_secret(name, *secrets):
        _raise_unusable(key)
    return name


def holds_secret(text: str, *secrets: str | None) -> bool:
    """Whether one of `secrets` stands in `text`; a very short one may do so by chance."""
    return any(
        secret is not None and (secret == text or (len(secret) >= _MASKABLE and secret in text))
        for secret in secrets
    )


def _object(reply: Reply, *secrets: str | None) -> dict[str, Any]:
    """The JSON object of a 2xx; a 4xx is told with its text, in which `secrets` are masked."""
    if reply.refused:
        raise UpstreamRefused(
            f"the upstream refused the request ({reply.status})",
            status=reply.status,
            upstream=_masked_body(reply.body, secrets),
        )
    if not reply.ok:
        raise BadUpstream(f"the upstream failed ({reply.status})")
    found = _parsed(reply.body)
    if not isinstance(found, dict):
        raise BadUpstream("the upstream's answer is not a JSON object")
    return found


def _passed_on(found: dict[str, Any], token: str | None) -> dict[str, Any]:
    """The object, which goes to a client as it is, if the token that was sent is not in it."""
    if (
        token is not None
        and len(token) >= _MASKABLE
        and json.dumps(token)[1:-1] in json.dumps(found)
    ):
        raise BadUpstream("the upstream's answer holds the token it was sent")
    return found


def _masked_body(body: bytes, secrets: tuple[str | None, ...]) -> str:
    """The text for a person; masked before it is cut, since half a secret is not recognised."""
    text = body.decode(errors="replace")
    for secret in secrets:
        if secret is not None and len(secret) >= _MASKABLE:
            text = text.replace(secret, "***")
    return masked(text).encode()[:_MAX_SHOWN_BYTES].decode(errors="ignore")


def _parsed(body: bytes) -> Any:
    """Strict JSON: no NaN, no infinity however written, nothing that UTF-8 cannot carry on."""
    try:
        found = json.loads(body.decode(), parse_constant=_no_number, parse_float=_finite)
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise BadUpstream("the upstream's answer is not JSON") from None
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(digits)
    return value


def _text(found: dict[str, Any], key: str, limit: int, allowed: re.Pattern[str]) -> str | None:
    """The string at `key`, at most `limit` bytes; None where it is absent, null or empty."""
    value = found.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or len(value.encode()) > limit or not allowed.fullmatch(value):
        _raise_unusable(key)
    return value or None


def _lifetime(found: dict[str, Any]) -> float | None:
    """`expires_in` in seconds; 0 and null both mean that no end was named."""
    value = found.get("expires_in")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        _raise_unusable("expires_in")
    if not 0 <= value <= _MAX_LIFETIME_S:
        _raise_unusable("expires_in")
    return value or None


def _check_link(link: Any) -> None:
    """A person will open `authorize_url`, so it must be a web address, never `javascript:`."""
    if link is None:
        return
    if not isinstance(link, str) or len(link) > _URL_LENGTH or not _WORDS.fullmatch(link):
        _raise_unusable("authorize_url")
    try:
        parts = urlsplit(link)
        web = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        web = False
    if not web:
        _raise_unusable("authorize_url")
