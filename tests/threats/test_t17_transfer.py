"""T17: bodies that do not end and replies that nobody reads hold no more than was stated."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import requests

from tests.contract.replies import problem
from tests.serving import Client, Gunicorn, wait_for
from tests.threats.wire import tell

MIB = 2**20
# More than twice what a kernel takes of a reply that nobody reads.
LIMIT = 12 * MIB
LARGE = 8 * MIB
HEAD = (
    "{} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
)


@pytest.fixture
def server(gunicorn: Callable[..., Gunicorn]) -> Gunicorn:
    return gunicorn(COWORK_TRANSFER_BYTES=str(LIMIT))


@pytest.fixture
def dial(server: Gunicorn) -> Iterator[Callable[[bytes], socket.socket]]:
    """A connection that has sent these bytes, and reads nothing."""
    lines: list[socket.socket] = []

    def connect(said: bytes) -> socket.socket:
        line = socket.socket()
        lines.append(line)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(20)
        line.connect(("127.0.0.1", server.port))
        line.sendall(said)
        return line

    yield connect
    for line in lines:
        line.close()


def test_fault_s5_bodies_that_do_not_end_keep_no_small_one_out(
    server: Gunicorn, dial: Callable[[bytes], socket.socket], another: Callable[..., Client]
) -> None:
    def ask() -> requests.Response:
        # Each on a connection of its own: one whose body is refused half read is closed.
        return another(server).post("/ask_question", {"project_name": "", "question": "x" * LARGE})

    part = HEAD.format("POST /ask_question", LIMIT).encode() + b'{"question": "' + b"x" * LARGE
    first = dial(part)
    wait_for(lambda: ask().status_code == 503, what="a refusal")
    refused = ask()
    problem(refused, 503, "at_capacity")
    assert int(refused.headers["Retry-After"]) >= 1
    assert another(server).ask("x" * 60_000).status_code == 200
    first.close()
    wait_for(lambda: ask().status_code == 422, what="its end")
    for _ in range(5):  # what is refused, or answered, is counted no more
        assert ask().status_code == 422


def test_fault_s5_replies_that_nobody_reads_keep_no_small_one_out(
    server: Gunicorn, dial: Callable[[bytes], socket.socket], another: Callable[..., Client]
) -> None:
    turn_id = _large_turn(server)
    size = len(server.get(f"/turns/{turn_id}").content)
    assert LIMIT // 2 < size <= LIMIT
    lines = [dial(HEAD.format(f"GET /turns/{turn_id}", 0).encode()) for _ in range(8)]
    other = another(server)
    wait_for(lambda: other.get(f"/turns/{turn_id}").status_code == 503, what="a refusal")
    refused = other.get(f"/turns/{turn_id}")
    problem(refused, 503, "at_capacity")
    assert int(refused.headers["Retry-After"]) >= 1
    assert other.ask("hi").status_code == 200
    for line in lines:
        line.close()
    wait_for(lambda: other.get(f"/turns/{turn_id}").status_code == 200, what="their end")
    for _ in range(5):
        assert json.loads(other.get(f"/turns/{turn_id}").content)["turn_id"] == turn_id


def _large_turn(server: Gunicorn) -> str:
    """A turn whose answer is its question, of `LARGE` bytes."""
    reply = server.ask("x" * LARGE, "large")
    assert reply.status_code == 200, reply.text[:200]
    return str(reply.json()["turn_id"])


def test_fault_s5_a_head_is_bounded_as_a_whole(server: Gunicorn) -> None:
    field = b"X-Filler: " + b"x" * 7000 + b"\r\n"
    head = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    assert tell(server, head + field * 8 + b"\r\n").status == 200
    refused = tell(server, head + field * 40)
    assert (refused.status, refused.detail["code"]) == (431, "headers_too_large")


def test_fault_s5_who_reads_no_stream_has_nobody_elses_cut(
    gunicorn: Callable[..., Gunicorn], another: Callable[..., Client]
) -> None:
    keys = {name: name * 40 for name in "ab"}
    server = gunicorn(
        COWORK_API_KEYS=",".join(f"{name}={key}" for name, key in keys.items()),
        COWORK_TRANSFER_BYTES=str(3 * LARGE),
        COWORK_LOG_LEVEL="info",
    )
    turns = {}
    for name, key in keys.items():
        reply = another(server, key).ask(f"[[say {'x' * LARGE}]]", name)
        turns[name] = reply.json()["turn_id"]

    def stream(name: str) -> socket.socket:
        line = lines.enter_context(socket.socket())
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(20)
        line.connect(("127.0.0.1", server.port))
        key = f"Authorization: Bearer {keys[name]}"
        line.sendall(
            f"GET /turns/{turns[name]}/events HTTP/1.0\r\nHost: localhost\r\n{key}\r\n\r\n".encode()
        )
        return line

    with ExitStack() as lines:
        for _ in range(6):
            stream("a").recv(1)  # and no more
        wait_for(lambda: "send timeout" in server.log.read_text(), what="a reader's dismissal")
        line, size = stream("b"), 0
        line.recv(1)
        assert another(server, keys["b"]).get("/health").status_code == 200
        while piece := line.recv(MIB):
            size += len(piece)
        assert size > LARGE
