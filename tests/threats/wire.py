"""A connection of which every byte is the test's own."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from typing import Any

from tests.serving import TIMEOUT_S, Client


@dataclass(frozen=True, slots=True)
class Told:
    """What came back until the end of the connection; `took` is in seconds."""

    raw: bytes
    took: float

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1]) if self.raw else 0

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case."""
        head = self.raw.partition(b"\r\n\r\n")[0].decode()
        lines = [line.partition(":") for line in head.split("\r\n")[1:]]
        return {name.lower(): value.strip() for name, _, value in lines}

    @property
    def detail(self) -> Any:
        """The `detail` of an error; fails for what has not the shape of all errors."""
        assert self.headers["content-type"] == "application/json", self.raw
        assert self.headers["x-request-id"], self.raw
        return json.loads(self.raw.partition(b"\r\n\r\n")[2])["detail"]


def connect(to: Client) -> socket.socket:
    host, _, port = to.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=TIMEOUT_S)


def tell(to: Client, *pieces: bytes, gap: float = 0.0) -> Told:
    """Send the pieces, `gap` seconds apart, and read to the end."""
    with connect(to) as line:
        begun = time.monotonic()
        for piece in pieces:
            try:
                line.sendall(piece)
            except OSError:
                break  # refused before all was said
            time.sleep(gap)
        return Told(_rest(line), time.monotonic() - begun)


def _rest(line: socket.socket) -> bytes:
    found = b""
    try:
        while data := line.recv(65536):
            found += data
    except ConnectionResetError:
        pass  # cut while we were still sending
    return found
