"""The least that a relay can be, to compare with: gevent, one regular expression, a socket.

It keeps nothing, checks nothing, ends nothing well and serves one kind of request: what it costs is
what the machine, the event loop and Python cost, whatever a server does besides.  The same in C
(`bare_relay.c`) costs what the machine and the load do.

`python -m bench.bare FAKE` prints its port and serves until its stdin ends.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
from gevent import subprocess as gevent_subprocess
from gevent.fileobject import FileObject
from gevent.server import StreamServer

from bench import proc
from bench.fake import MESSAGE, compiled

SOURCE = Path(__file__).resolve().parent / "bare_relay.c"
ROOT = SOURCE.parent.parent
BACKLOG = 2048
BLOCK = 64 * 1024
STOP_TIMEOUT = 20.0
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_FRAME = b'id: 986e1a47-9c1e-4b3b-a0ae-0ece2b7118b5.%d\ndata: {"type": "token", "token": %b}\n\n'
_END = b'data: {"done": true, "success": true}\n\n'
_LENGTH = re.compile(rb"(?i)content-length: ([0-9]+)")
_TEXT = re.compile(rb'"text_delta","text":("[^"\\]*(?:\\.[^"\\]*)*")')
_RESULT = b'"type":"result"'


@dataclass(frozen=True, slots=True)
class Bare:
    """A bare relay that runs; a `bench.client.Target`."""

    port: int
    worker: int


def in_python(fake: Path) -> AbstractContextManager[Bare]:
    """A bare relay over that fake CLI."""
    return serving([sys.executable, "-m", "bench.bare", str(fake)])


def in_c(fake: Path, folder: Path) -> AbstractContextManager[Bare]:
    """The same in C, built in `folder`; raises as `fake.compiled`."""
    return serving([str(compiled(SOURCE, folder / "bare-relay")), str(fake)])


@contextmanager
def serving(argv: list[str]) -> Iterator[Bare]:
    """The relay of this command, which prints its port and ends with its stdin."""
    child = subprocess.Popen(
        proc.tied(argv),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        try:
            yield Bare(int(child.stdout.readline()), child.pid)
        finally:
            child.stdin.close()
            try:
                child.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                child.kill()


def _serve(fake: str) -> None:
    server = StreamServer(("127.0.0.1", 0), lambda sock, _: _relay(fake, sock), backlog=BACKLOG)
    server.start()
    print(server.server_port, flush=True)
    FileObject(sys.stdin.buffer, "rb").read()
    server.stop(timeout=1)


def _relay(fake: str, sock: Any) -> None:
    """One question on a connection of its own, answered by a process of its own."""
    question = json.loads(_body(sock))["question"]
    child = gevent_subprocess.Popen(
        [fake, "--session-id=bare"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={},
    )
    try:
        os.write(child.stdin.fileno(), MESSAGE % (question.encode(), b"bare-1"))
        sock.sendall(_HEAD)
        for frames in _frames(child.stdout.fileno()):
            sock.sendall(b"%x\r\n%b\r\n" % (len(frames), frames))
        sock.sendall(b"0\r\n\r\n")
    finally:
        sock.close()
        child.kill()
        child.wait()


def _body(sock: Any) -> bytes:
    data: bytes = sock.recv(BLOCK)
    head, _, body = data.partition(b"\r\n\r\n")
    found = _LENGTH.search(head)
    assert found is not None
    while len(body) < int(found[1]):
        body += sock.recv(BLOCK)
    return body


def _frames(descriptor: int) -> Iterator[bytes]:
    hub = gevent.get_hub()
    watcher = hub.loop.io(descriptor, 1)
    number, rest = 0, b""
    try:
        while _RESULT not in rest:
            hub.wait(watcher)
            block = os.read(descriptor, BLOCK)
            if not block:
                return
            lines, end, rest = (rest + block).rpartition(b"\n")
            parts = []
            for text in _TEXT.findall(lines + end):
                number += 1
                parts.append(_FRAME % (number, text))
            if _RESULT in lines:
                rest = _RESULT
                parts.append(_END)
            if parts:
                yield b"".join(parts)
    finally:
        watcher.close()


if __name__ == "__main__":
    _serve(sys.argv[1])
