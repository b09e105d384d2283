"""A stream through real gunicorn, byte by byte: chunks, frames, and the connection after it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.serving import Gunicorn, frames, joined
from tests.threats.wire import connect, tell
from tests.turns.raw_client import ASK_STREAMING, Line, last_frame, question

FLOOD = 30_000


@pytest.fixture
def dial():
    """Connections that are closed at the end."""
    opened: list[Line] = []

    def dial_one(*args, **more):
        opened.append(Line(*args, **more))
        return opened[-1]

    yield dial_one
    for line in opened:
        line.close()


def body_of(raw: bytes) -> tuple[list[bytes], bytes]:
    """The chunks of a reply, and what comes after the last one."""
    _, _, rest = raw.partition(b"\r\n\r\n")
    chunks = []
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        chunk, end, rest = rest[:length], rest[length : length + 2], rest[length + 2 :]
        assert (len(chunk), end) == (length, b"\r\n")
        if not length:
            return chunks, rest
        chunks.append(chunk)


def tokens_of(body: bytes) -> list[str]:
    found = [json.loads(line[6:]) for line in body.decode().splitlines() if line[:5] == "data:"]
    assert found[-1]["success"] is True
    return [data["token"] for data in found if data.get("type") == "token"]


@pytest.mark.parametrize("is_numbered", [False, True])
def test_chunks_are_whole_frames_and_the_connection_goes_on(
    is_numbered: bool, gunicorn: Callable[..., Gunicorn], dial: Callable[..., Line]
) -> None:
    server = gunicorn()
    accept = {"Accept": "text/event-stream"} if is_numbered else {}
    line = dial(server, ASK_STREAMING, question("[[delay 20]] [[words 30]]"), **accept)
    line.until(b"\r\n0\r\n\r\n")
    chunks, rest = body_of(line.received)
    assert rest == b""
    assert all(chunk.endswith(b"\n\n") for chunk in chunks)
    assert len(chunks) > 15  # they came as they were said
    body = b"".join(chunks)
    assert tokens_of(body) == [f"w{n}" + " " * (n < 30) for n in range(1, 31)]
    if is_numbered:
        ids = [int(number) for number in re.findall(rb"(?m)^id: \S+\.(\d+)$", body)]
        assert len(ids) == 31
        assert all(first < second for first, second in pairwise(ids))
    else:
        assert re.fullmatch(rb"(?:data: [^\n]+\n\n)+", body)
    line.received = b""
    line.socket.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b" 200 OK\r\n" in line.until(b"}")


def test_a_client_of_http_1_0_gets_frames_without_chunks(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn()
    asked = json.dumps(question("[[delay 20]] [[words 30]]")).encode()
    told = tell(
        server,
        b"POST /ask_question_streaming HTTP/1.0\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(asked), asked),
    )
    assert "transfer-encoding" not in told.headers
    body = told.raw.partition(b"\r\n\r\n")[2]
    assert "".join(tokens_of(body)) == " ".join(f"w{n}" for n in range(1, 31))
    assert re.fullmatch(rb"(?:data: [^\n]+\n\n|\n\n)+", body)


def test_a_client_that_reads_in_fits_and_starts_gets_every_byte(
    gunicorn: Callable[..., Gunicorn], dial: Callable[..., Line]
) -> None:
    server = gunicorn()
    line = dial(server, ASK_STREAMING, question(f"[[flood {FLOOD}]]"), buffer=4096)
    for pause in [0.2, 0.0, 0.05, 0.0, 0.0, 0.3] * 3:
        line.received += line.socket.recv(3000)
        time.sleep(pause)
    line.until(b"\r\n0\r\n\r\n")
    chunks, _ = body_of(line.received)
    assert len(tokens_of(b"".join(chunks))) == FLOOD


def test_comments_fill_the_silence_behind_the_last_frame(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    server = gunicorn(COWORK_KEEPALIVE="0.6", CLAUDE_TIMEOUT="3")
    with server.stream("[[delay 100]] [[words 20]]") as reply:
        assert ": keep-alive" not in reply.text
    with server.stream("[[delay 100]] [[words 20]] [[stall]]") as reply:
        assert reply.text.count(": keep-alive") in range(3, 6)


def test_a_client_that_leaves_in_the_middle_is_noticed(
    gunicorn: Callable[..., Gunicorn], dial: Callable[..., Line]
) -> None:
    server = gunicorn(COWORK_DISCONNECT_GRACE="0.2")
    line = dial(server, ASK_STREAMING, question("[[delay 50]] [[words 400]]"))
    line.until(b"w5")
    line.reset()
    with server.stream("hi") as reply:  # waits for the turn of the one who left
        seen = list(frames(reply))
    assert joined(seen) == "You said: hi"
    assert last_frame(seen)["success"] is True


def test_several_requests_in_one_go_are_answered_one_after_the_other(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    server = gunicorn()
    asked = json.dumps(question("[[delay 20]] [[words 10]]")).encode()
    post = (
        b"POST /ask_question_streaming HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(asked), asked)
    )
    with connect(server) as sock:
        sock.sendall(
            post * 2 + b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        raw = b""
        while block := sock.recv(65536):
            raw += block
    for _ in range(2):
        chunks, raw = body_of(raw)
        assert len(tokens_of(b"".join(chunks))) == 10
    assert raw.startswith(b"HTTP/1.1 ")
