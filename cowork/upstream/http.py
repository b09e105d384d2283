"""One upstream over HTTP: every call is bounded in time, size and number, and goes nowhere else."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import quote, urlencode

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from cowork.errors import BadUpstream, UpstreamTimeout
from cowork.log import traceparent
from cowork.telemetry.catalogue import UPSTREAM_DURATION
from cowork.telemetry.metrics import NO_METRICS, Metrics
from cowork.upstream.transport import Adapter, Sockets

# What a bad network, a lying server or a header that HTTP does not allow can raise here;
# requests' own errors are all OSErrors.
_FAULTS = (OSError, ValueError, HTTPError, HTTPException)
_KEPT_HEADERS = ("content-type", "retry-after")
_MAX_RETRY_AFTER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds to connect, to wait for a next byte and for a whole reply; bytes; calls at once."""

    connect: float = 10.0
    read: float = 30.0
    total: float = 60.0
    body: int = 2**20
    calls: int = 8


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, never a redirect; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def refused(self) -> bool:
        return HTTPStatus.BAD_REQUEST <= self.status < HTTPStatus.INTERNAL_SERVER_ERROR

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait as the reply names them (a number or a date), at most an hour."""
        named = self.headers.get("retry-after", "").strip()
        if re.fullmatch(r"[0-9]{1,9}", named):
            return min(float(named), _MAX_RETRY_AFTER_S)
        try:
            until = parsedate_to_datetime(named)
        except (ValueError, TypeError, OverflowError):
            return None
        wait = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
        return min(max(wait, 0.0), _MAX_RETRY_AFTER_S)


def segment(text: str) -> str:
    """`text` percent-encoded as exactly one path segment, whatever it holds.

    `.` and `..` would be resolved on the way, so their dots are encoded too.
    """
    if text in {".", ".."}:
        return text.replace(".", "%2E")
    return quote(text, safe="", errors="surrogatepass")


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `path` is percent-encoded already, `body` becomes JSON, `token` a bearer's.

    `rule` is what it is counted under, where its path tells more than which call it is.
    """

    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None
    token: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    rule: str = ""


class _Session(requests.Session):
    def get_redirect_target(self, resp: Any) -> None:
        """Know no redirects: even unfollowed, requests reads one's whole body, of any size."""


class UpstreamClient:
    """Calls to one base URL, which come back within `limits` or raise.

    Errors: `UpstreamTimeout` for silence, `BadUpstream` for every other failure of the network, a
    redirect, or a reply that is too large.  Their sentences name the base URL and nothing else.
    Environment proxies, `.netrc` and cookies are not used.
    """

    def __init__(
        self, base_url: str, limits: Limits = LIMITS, metrics: Metrics = NO_METRICS
    ) -> None:
        self._metrics = metrics
        self._base_url = base_url
        self._limits = limits
        # requests encodes the host (IDNA); the path is ours, byte by byte, since requests would
        # decode `%2E%2E` and then resolve it.
        self._prefix = str(requests.Request("GET", base_url).prepare().url).rstrip("/")
        self._sockets = Sockets()
        self._slots = threading.BoundedSemaphore(limits.calls)
        self._session = _Session()
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = Adapter(total=limits.total, size=limits.calls, sockets=self._sockets)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def call(self, request: Request) -> Reply:
        """Send a request and read its whole reply."""
        prepared = self._prepare(request)
        with (
            self._slot(),
            self._timed(request),
            self._errors(),
            self._open(prepared) as response,
        ):
            return _reply(response, self._read(response))

    def deliver(self, request: Request) -> Reply:
        """Send a request of which the status alone is the answer; the reply's body is empty.

        A broken or endless body behind a 200 does not undo what the 200 said.
        """
        prepared = self._prepare(request)
        with self._slot(), self._timed(request):
            with self._errors():
                response = self._open(prepared)
            with response:
                try:
                    self._read(response)  # so that the connection can be used again
                except (*_FAULTS, BadUpstream):
                    response.close()
                return _reply(response, b"")

    def close(self) -> None:
        """Close every connection; calls under way fail at once."""
        self._session.close()
        self._sockets.abort_all()

    def _prepare(self, request: Request) -> requests.PreparedRequest:
        sent = {"Accept": "application/json", "User-Agent": "xo-cowork-api", **request.headers}
        sent["Accept-Encoding"] = "identity"  # what is small is not worth being unpacked
        traced = traceparent.get()
        if traced is not None:
            sent["traceparent"] = traced
        if request.token is not None:
            sent["Authorization"] = f"Bearer {request.token}"
        if request.body is not None:
            sent["Content-Type"] = "application/json"
        data = None if request.body is None else json.dumps(request.body).encode()
        with self._errors():
            prepared = self._session.prepare_request(
                requests.Request(request.method, self._base_url, headers=sent, data=data)
            )
        tail = f"?{urlencode(request.query, errors='surrogatepass')}" if request.query else ""
        prepared.url = f"{self._prefix}{request.path}{tail}"
        return prepared

    def _open(self, request: requests.PreparedRequest) -> requests.Response:
        """Send, and read as far as the headers."""
        timeout = (self._limits.connect, self._limits.read)
        response = self._session.send(request, timeout=timeout, stream=True, allow_redirects=False)
        if HTTPStatus.MULTIPLE_CHOICES <= response.status_code < HTTPStatus.BAD_REQUEST:
            response.close()
            raise self._bad("answered with a redirect")
        return response

    def _read(self, response: requests.Response) -> bytes:
        body = bytearray()
        for chunk in response.iter_content(16384):
            body += chunk
            if len(body) > self._limits.body:
                raise self._bad(f"answered with more than {self._limits.body} bytes")
        return bytes(body)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Take one of the places for calls at once; whoever finds none in time was not served."""
        if not self._slots.acquire(timeout=self._limits.connect):
            full = UpstreamTimeout(f"too many calls wait for the upstream at {self._base_url}")
            full.unsent = True
            raise full
        try:
            yield
        finally:
            self._slots.release()

    @contextmanager
    def _timed(self, request: Request) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            taken = time.monotonic() - begun
            self._metrics.observe(UPSTREAM_DURATION, taken, request.rule or request.path)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what the network raises into our errors, without its words (they hold the URL)."""
        try:
            yield
        except _FAULTS as fault:
            raise self._error_of(fault) from None

    def _error_of(self, fault: BaseException) -> BadUpstream | UpstreamTimeout:
        causes = list(_causes(fault))
        error = self._classified(fault, causes)
        # A pool wraps both in errors that say less.
        error.unsent = any(
            isinstance(each, NewConnectionError | ConnectTimeoutError) for each in causes
        )
        return error

    def _classified(
        self, fault: BaseException, causes: list[BaseException]
    ) -> BadUpstream | UpstreamTimeout:
        if any(isinstance(cause, (TimeoutError, requests.Timeout)) for cause in causes):
            return UpstreamTimeout(f"the upstream at {self._base_url} did not answer in time")
        if any(isinstance(cause, NewConnectionError) for cause in causes):
            return self._bad("cannot be reached")
        if isinstance(fault, UnicodeError | requests.exceptions.InvalidHeader):
            return self._bad("cannot be called: a header holds characters that HTTP forbids")
        if isinstance(fault, requests.exceptions.SSLError):
            return self._bad("cannot be trusted: its TLS certificate or handshake failed")
        return self._bad("broke off, or its reply is not HTTP")

    def _bad(self, what: str) -> BadUpstream:
        return BadUpstream(f"the upstream at {self._base_url} {what}")


def _reply(response: requests.Response, body: bytes) -> Reply:
    kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    return Reply(response.status_code, kept, body)


def _causes(fault: BaseException | None) -> Iterator[BaseException]:
    while fault is not None:
        yield fault
        fault = fault.__cause__ or fault.__context__
