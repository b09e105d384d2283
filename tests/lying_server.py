"""An HTTP server that answers as it is told: cut, slow, garbage, another's page."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

END_S = 5.0
Reply = bytes | Callable[[socket.socket], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What came: `headers` by their names in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class LyingServer:
    """Gives each request the next of `replies`, then the last of them again."""

    def __init__(self, *replies: Reply) -> None:
        self.requests: list[Request] = []
        self._replies = list(replies)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        """One connection after the other: each has one request."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            with connection, suppress(OSError):
                self.requests.append(_read(connection))
                reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
                if callable(reply):
                    reply(connection)
                else:
                    connection.sendall(reply)

    def close(self) -> None:
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(END_S)


def _read(connection: socket.socket) -> Request:
    file = connection.makefile("rb")
    method, path, _ = file.readline().decode().split(" ")
    headers = {}
    while line := file.readline().strip():
        name, _, value = line.decode("latin-1").partition(": ")
        headers[name.lower()] = value
    body = file.read(int(headers.get("content-length", 0)))
    return Request(method, path, headers, json.loads(body) if body else None)


@contextmanager
def lying(*replies: Reply) -> Iterator[LyingServer]:
    server = LyingServer(*replies)
    try:
        yield server
    finally:
        server.close()


def answer(status: int, body: bytes | Any, **headers: str) -> bytes:
    """A whole reply; what is no bytes is written as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} x", "Connection: close", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in named.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def refused(status: int, code: str, **headers: str) -> bytes:
    """A refusal as this API writes it."""
    return answer(status, {"detail": {"error": f"a sentence on {code}", "code": code}}, **headers)


HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\nX-Turn-ID: t1\r\n\r\n"
DONE = {"done": True, "type": "done", "success": True, "session_id": "s1", "total_cost_usd": 0.5}


def frame(number: int, data: Any) -> bytes:
    """An event of the turn `t1`."""
    return f"id: t1.{number}\ndata: {json.dumps(data)}\n\n".encode()


def stream(*frames: dict[str, Any], first: int = 1) -> bytes:
    """A stream with these frames, which ends behind them."""
    return HEAD + b"".join(frame(number, data) for number, data in enumerate(frames, first))


def token(text: str) -> dict[str, str]:
    return {"type": "token", "token": text}


def dripping(head: bytes, drop: bytes, pause: float = 0.05) -> Callable[[socket.socket], None]:
    """Sends `drop` again and again, as long as somebody reads."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(drop)
            time.sleep(pause)

    return drip


def silent(head: bytes) -> Callable[[socket.socket], None]:
    """Sends the head, and nothing more until the client leaves."""

    def wait(connection: socket.socket) -> None:
        connection.sendall(head)
        connection.recv(1)

    return wait
