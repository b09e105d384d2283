"""Requests to one server: its address and key, every wait and every reply bounded."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from cowork.client.errors import BadReply, CoworkError, Unreachable, refusal, unreachable

CONNECT_S = 10.0
# For a request's body, which may be 32 MiB on a slow line, and for a connection of the pool.
WRITE_S = 60.0
POOL_S = 10.0
# Silence of this length is a dead connection: the server fills its own every few seconds.
SILENCE_S = 45.0
MAX_REPLY_BYTES = 64 * 2**20
Json = Any
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")


class Transport:
    """Owns the connections; `close` ends them."""

    def __init__(self, url: str, key: str | None) -> None:
        """`url` is the server's, with a path where it is behind one.

        Raises ValueError, which never has the key in it.
        """
        self.url = checked_url(url)
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        self._key = "" if key is None else checked_key(key)
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._http = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_S, write=WRITE_S, pool=POOL_S),
            # A proxy of the environment's cannot reach this machine's own server.
            trust_env=not _is_loopback(self.url),
        )

    def close(self) -> None:
        """End all connections."""
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float,
    ) -> Json:
        """The reply's JSON, None where it has no body; `timeout` seconds for all of it.

        Raises `CoworkError`.
        """
        deadline = time.monotonic() + timeout
        opened = self.open(method, path, body, params=params, headers=headers, timeout=timeout)
        with opened as reply:
            content = _content(reply, deadline)
        if not content:
            return None
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise BadReply("the server's answer is no JSON", code="bad_reply") from None

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = SILENCE_S,
    ) -> Iterator[httpx.Response]:
        """A reply of success whose body is yet to be read; `timeout` bounds each silence.

        A head that comes byte by byte is bounded by its length alone (100 kB).

        Raises `CoworkError`.
        """
        given = {name: value for name, value in (params or {}).items() if value is not None}
        limits = httpx.Timeout(timeout, connect=CONNECT_S, write=WRITE_S, pool=POOL_S)
        request = self._http.build_request(
            method,
            self.url + path,
            json=body,
            params=given or None,
            headers=dict(headers or {}),
            timeout=limits,
        )
        try:
            reply = self._http.send(request, stream=True)
        except httpx.HTTPError as fault:
            raise _lost(fault) from fault
        try:
            if not reply.is_success:
                raise self._refused(reply)
            yield reply
        finally:
            reply.close()

    def _refused(self, reply: httpx.Response) -> CoworkError:
        content = _content(reply, time.monotonic() + SILENCE_S)
        if self._key:  # some proxies show what they were sent, and errors are printed
            content = content.replace(self._key.encode(), b"...")
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = None  # a proxy's page
        return refusal(
            reply.status_code,
            body,
            retry_after=_seconds(reply.headers.get("Retry-After")),
            request_id=reply.headers.get("X-Request-ID"),
        )


def blocks(reply: httpx.Response, check: Callable[[], None]) -> Iterator[bytes]:
    """The body as it comes; `check` is called before each wait, and may raise.

    Raises `Unreachable` where the connection is lost.
    """
    try:
        for block in reply.iter_raw():
            yield block
            check()
    except httpx.HTTPError as fault:
        raise _lost(fault) from fault


def segment(text: str) -> str:
    """One segment of a path, whatever is in it: `..` would lead elsewhere."""
    whole = quote(text, safe="")
    return whole.replace(".", "%2E") if whole in {".", ".."} else whole


def checked_url(url: str) -> str:
    """The address without its last slash; raises ValueError."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises where it is none
    except ValueError as fault:
        raise ValueError(f"the server's address cannot be read: {fault}") from None
    if parts.username or parts.password:
        raise ValueError("the server's address must not hold a name or a password")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("the server's address must be http://HOST:PORT or https://HOST")
    if parts.query or parts.fragment:
        raise ValueError("the server's address must end with its path")
    return url.rstrip("/")


def checked_key(key: str) -> str:
    """The key, if a header can carry it; raises ValueError, which does not show it."""
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("the API key is empty, or has characters that no key has")
    return key


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _content(reply: httpx.Response, deadline: float) -> bytes:
    """The whole body, bounded in bytes and time."""
    parts, size = list[bytes](), 0

    def check() -> None:
        if size > MAX_REPLY_BYTES:
            raise BadReply("the server's answer is too large", code="bad_reply")
        if time.monotonic() > deadline:
            raise unreachable("its answer does not come to an end")

    for block in blocks(reply, check):
        parts.append(block)
        size += len(block)
    return b"".join(parts)


def _seconds(text: str | None) -> float | None:
    """What `Retry-After` says; a date, which this server does not write, is None."""
    return float(text) if text is not None and text.isascii() and text.isdecimal() else None


def _lost(fault: httpx.HTTPError) -> Unreachable:
    error = unreachable(_why(fault))
    error.was_connected = not isinstance(fault, httpx.ConnectError | httpx.ConnectTimeout)
    return error


def _why(fault: httpx.HTTPError) -> str:
    if isinstance(fault, httpx.ConnectTimeout):
        return "it does not answer"
    if isinstance(fault, httpx.ReadTimeout):
        return "the connection is silent"
    said = _ERRNO.sub("", str(fault))
    return said if isinstance(fault, httpx.ConnectError) and said else "the connection was lost"
