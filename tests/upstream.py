"""A stand-in for xo-swarm-api: a real HTTP server whose behaviour a test programs.

    with Upstream() as upstream:              # on 127.0.0.1, a port of its own
        upstream.always(fails(500))           # what every call gets from now on
        upstream.then(hangs(), ok())          # what the next calls get, one each, before that
        upstream.on("/get-user-id", ok(...))  # what one path gets
        ... call upstream.url ...
        upstream.seen                         # every request, as it stood on the wire
        upstream.messages                     # the chat messages it took, repeats left out

Untouched, it answers as the real one does: chat messages are taken and the login succeeds.
It is written on sockets, not on Flask, because it must lie: no framework sends half a header.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

from tests.patience import PATIENCE_S
from tests.serving import free_port

ADD_MESSAGE = "/chat/add_message"
ACCESS_TOKEN = "xo-access-token-0123456789"
START_REPLY = {
    "authorize_url": "https://xo.example/authorize?s=1",
    "auth_session_id": "session-1",
    "poll_token": "poll-token-123",
}
CONSUME_REPLY = {
    "access_token": ACCESS_TOKEN,
    "refresh_token": "xo-refresh-token-0123456789",
    "expires_in": 3600,
    "user_id": "user-1",
    "auth_session_id": "session-1",
    "scope": "chat",
}


def until(condition: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
    """Wait for `condition` and return what it says; fail the test after `seconds`."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)
    return found


@dataclass(frozen=True)
class Seen:
    """A request as it arrived; `target` is the path and query byte by byte."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Exchange(BaseHTTPRequestHandler):
    """One request that a behaviour answers, well or badly."""

    protocol_version = "HTTP/1.1"
    server: Upstream._Server
    seen: Seen

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole, honest reply; `retry_after="1"` becomes `retry-after: 1`."""
        if 200 <= status < 300:
            self.take()
        lines = {"content-type": "application/json", "content-length": str(len(body))}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.send(f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + body)

    def take(self) -> None:
        """Count the request as done, whatever the reply will be."""
        self.server.upstream.taken.append(self.seen)

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def hang_up(self) -> None:
        self.close_connection = True

    def rest(self, seconds: float = 3600.0) -> bool:
        """Wait, unless the server stops; whether to go on.

        It looks, and does not wait on `stopping`: of many that wait on one event, each with a
        timeout, gevent loses those whose time is up when it is set, and they never return.
        """
        end = time.monotonic() + seconds
        while not self.server.upstream.stopping.is_set():
            left = end - time.monotonic()
            if left <= 0:
                return True
            time.sleep(min(0.02, left))
        return False

    def log_message(self, *_: Any) -> None:
        """The tests have nothing to read."""

    def _serve(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        target = self.requestline.split(" ")[1]  # `self.path` would merge leading slashes
        body = self.rfile.read(length)
        if len(body) < length:  # the caller died in the middle of its request
            self.hang_up()
            return
        self.seen = Seen(str(self.command), target, headers, body)
        with self.server.upstream.serving(self.seen) as behave:
            behave(self)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the base class's names


Behaviour = Callable[[Exchange], None]


def says(status: int, body: bytes | str = b"", **headers: str) -> Behaviour:
    """Answer with this status, body and these headers."""
    data = body.encode() if isinstance(body, str) else body
    return lambda exchange: exchange.reply(status, data, **headers)


def ok(body: Any = None) -> Behaviour:
    """200 with `body` as JSON."""
    return says(200, json.dumps({"success": True} if body is None else body))


def fails(status: int = 500) -> Behaviour:
    return says(status, '{"detail": "upstream failed"}')


def redirects(to: str, status: int = 302) -> Behaviour:
    return says(status, "", location=to)


def hangs(exchange: Exchange) -> None:
    """Take the request and say nothing."""
    exchange.rest()
    exchange.hang_up()


def drips_body(exchange: Exchange) -> None:
    """Say 200 and then a byte now and then, within every read timeout."""
    exchange.take()
    exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    _drip(exchange)


def drips_headers(exchange: Exchange) -> None:
    """Never reach the end of the headers."""
    exchange.send(b"HTTP/1.1 200 OK\r\nx-long: ")
    _drip(exchange)


def garbage(exchange: Exchange) -> None:
    """Speak no HTTP."""
    exchange.send(b"\x16\x03\x01\x00 this is not the protocol you are looking for\r\n\r\n")
    exchange.hang_up()


def drops_reply(exchange: Exchange) -> None:
    """Do what was asked, and close without a word."""
    exchange.take()
    exchange.hang_up()


def breaks_off(exchange: Exchange) -> None:
    """Promise more body than comes."""
    exchange.take()
    exchange.send(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"suc')
    exchange.hang_up()


def huge(exchange: Exchange) -> None:
    """Send a body without end, as fast as it is read."""
    exchange.take()
    exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    while not exchange.server.upstream.stopping.is_set():
        exchange.send(b" " * 65536)


def floods(head: bytes, piece: bytes) -> Behaviour:
    """Send the same piece of a reply without end, as fast as it is read."""
    block = piece * (65536 // len(piece) + 1)

    def flood(exchange: Exchange) -> None:
        exchange.send(head)
        while not exchange.server.upstream.stopping.is_set():
            exchange.send(block)

    return flood


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
# What adds nothing to a body, by its name; more than one header ends a parser's patience soon.
FLOODS = {
    "interim replies": floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "interim replies with headers": floods(b"", b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\n"),
    "headers": floods(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
    "one header": floods(b"HTTP/1.1 200 OK\r\nx:", b" y"),
    "long headers": floods(b"HTTP/1.1 200 OK\r\n", b"x: " + b"y" * 60_000 + b"\r\n"),
    "a status line": floods(b"HTTP/1.1 200 ", b"O"),
    "one-byte chunks": floods(CHUNKED, b"1\r\n \r\n"),
    "chunk extensions": floods(CHUNKED, b"1;x=" + b"y" * 1000 + b"\r\n \r\n"),
    "one chunk extension": floods(CHUNKED + b"1", b";x=y"),
    "trailers": floods(CHUNKED + b"2\r\n{}\r\n0\r\n", b"x: y\r\n"),
    "a redirect": floods(b"HTTP/1.1 302 Found\r\nlocation: /x\r\n\r\n", b" "),
    "a body to the end": floods(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", b" "),
}


def _drip(exchange: Exchange) -> None:
    while exchange.rest(0.02):
        exchange.send(b"x")


class Upstream:
    """The server; a context manager, or `start()` and `stop()`."""

    class _Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128
        upstream: Upstream

        def get_request(self) -> tuple[socket.socket, Any]:
            connection, address = super().get_request()
            self.upstream.connections.append(connection)
            return connection, address

        def handle_error(self, *_: Any) -> None:
            """Callers that leave are part of the play."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.taken: list[Seen] = []
        self.stopping = threading.Event()
        self.connections: list[socket.socket] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        self._default: Behaviour | None = None
        self._next: deque[Behaviour] = deque()
        self._paths: dict[str, Behaviour] = {}
        self._server: Upstream._Server | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def always(self, behaviour: Behaviour | None) -> None:
        """What every call gets that nothing else is planned for; None: the real one's answers."""
        with self._lock:
            self._default = behaviour

    def then(self, *behaviours: Behaviour) -> None:
        """What the next calls get, one each, whatever their path."""
        with self._lock:
            self._next.extend(behaviours)

    def on(self, path: str, behaviour: Behaviour) -> None:
        """What every call of one path gets (as it stands on the wire, without the query)."""
        with self._lock:
            self._paths[path] = behaviour

    def at(self, path: str) -> list[Seen]:
        """The requests of one path."""
        return [seen for seen in self.seen if seen.path == path]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The chat messages it took, in order; one that came again under its key counts once."""
        kept: dict[str, dict[str, Any]] = {}
        for seen in list(self.taken):
            if seen.path.endswith(ADD_MESSAGE):
                kept.setdefault(seen.headers["idempotency-key"], seen.json)
        return list(kept.values())

    @contextlib.contextmanager
    def serving(self, seen: Seen) -> Iterator[Behaviour]:
        """Note a request and say how to behave; used by `Exchange`."""
        with self._lock:
            self.seen.append(seen)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            behave = self._behaviour(seen)
        try:
            yield behave
        finally:
            with self._lock:
                self._now -= 1

    def _behaviour(self, seen: Seen) -> Behaviour:
        if self._next:
            return self._next.popleft()
        return self._paths.get(seen.path) or self._default or _honest(seen)

    def start(self, port: int = 0) -> Self:
        """Listen; `port` 0 takes a free one, the same one again after a `stop`."""
        self.stopping.clear()
        port = port or self.port or free_port()
        self._server = Upstream._Server(("127.0.0.1", port), Exchange)
        self._server.upstream = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), name="upstream", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Refuse connections from now on, and cut those there are."""
        if self._server is None or self._thread is None:
            return
        self.stopping.set()
        self._server.shutdown()
        self._thread.join(PATIENCE_S)
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()
        self._server.server_close()
        until(lambda: self._now == 0)
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _honest(seen: Seen) -> Behaviour:
    """What the real one answers to a request that is in order."""
    path = urlsplit(seen.path).path
    if path.startswith("/auth/browser/status/"):
        return ok({"status": "authorized"})
    answers: dict[str, Any] = {
        ADD_MESSAGE: {"success": True},
        "/auth/browser/start": START_REPLY,
        "/auth/browser/consume": CONSUME_REPLY,
        "/get-user-id": {"user_id": "user-1"},
    }
    return ok(answers[path]) if path in answers else fails(404)
