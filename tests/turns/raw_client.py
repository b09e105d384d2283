"""A client on a bare socket, which can leave in every way there is, or not read at all."""

from __future__ import annotations

import json
import socket
import struct
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from tests.serving import TIMEOUT_S, Client, Frame

ASK = "/ask_question"
ASK_STREAMING = "/ask_question_streaming"
LEAVING = ["close", "reset"]


class Line:
    """One request, POST with a body and GET without; `received` is all that came back so far."""

    def __init__(
        self, to: Client, path: str, body: Any = None, *, buffer: int | None = None, **headers: str
    ) -> None:
        address = urlsplit(to.url)
        self.received = b""
        self.socket = socket.socket()
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.connect((address.hostname, address.port))
        data = b"" if body is None else json.dumps(body).encode()
        lines = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", f"Host: {address.netloc}"]
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + data)

    def until(self, needle: bytes, timeout: float = TIMEOUT_S) -> bytes:
        """Read until `needle` came, or all there is; what was received."""
        deadline = time.monotonic() + timeout
        while needle not in self.received:
            assert time.monotonic() < deadline, f"{needle!r} did not come: {self.received[-500:]!r}"
            block = self.socket.recv(65536)
            if not block:
                break
            self.received += block
        return self.received

    def half_close(self) -> None:
        """Say that nothing more will be sent; go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Leave as a browser does."""
        self.socket.close()

    def reset(self) -> None:
        """Leave as a process does that is killed with unread data."""
        with suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()


def question(text: str, project: str = "p", **more: Any) -> dict[str, Any]:
    """The body of a question."""
    return {"project_name": project, "question": text, **more}


def turn_of(client: Client, turn_id: str) -> dict[str, Any]:
    """`GET /turns/{id}`."""
    reply = client.get(f"/turns/{turn_id}")
    assert reply.status_code == 200, reply.text
    body: dict[str, Any] = reply.json()
    return body


def last_frame(seen: list[Frame]) -> dict[str, Any]:
    """The last frame, which every stream must have, and have once."""
    assert [frame for frame in seen if frame.data.get("done")] == seen[-1:], seen[-3:]
    return seen[-1].data


def numbers(seen: list[Frame]) -> list[int]:
    """The numbers of frames, checked to be ids of one turn."""
    ids = [str(frame.id).rsplit(".", 1) for frame in seen]
    assert len({turn for turn, _ in ids}) <= 1, ids
    return [int(number) for _, number in ids]
