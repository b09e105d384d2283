"""The whole way with nginx and the site that we ship in front."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.contract.replies import ASK_PATHS, problem, send
from tests.e2e.environment import Stage, open_stage, timed
from tests.e2e.nginx import nginx
from tests.serving import Client, wait_for

pytestmark = pytest.mark.e2e

KEY = "a-key-of-the-tests-0123456789-abcdef"
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def stage(real_claude: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server with a key, which ends a turn as soon as nobody listens."""
    settings = {"COWORK_API_KEYS": f"tests={KEY}", "COWORK_DISCONNECT_GRACE": "0"}
    with open_stage(tmp_path_factory.mktemp("stage"), real_claude, **settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def address(stage: Stage) -> Iterator[str]:
    """Where nginx listens."""
    with nginx(stage.folder / "nginx", stage.server.port) as url:
        yield url


@pytest.fixture
def client(address: str, another: Callable[..., Client]) -> Client:
    """A client with the key, on the other side of nginx."""
    return another(address, KEY)


def test_metrics_are_not_handed_on(client: Client) -> None:
    for path in ("/metrics", "/%6Detrics"):
        problem(client.get(path), 403, "forbidden")


def test_tokens_arrive_one_by_one(stage: Stage, client: Client) -> None:
    seen = timed(client, "[[words 30]] [[delay 50]]")
    written = stage.model.words_written[-1]
    assert len(written) == 30
    assert seen.first_token_at < written[4].at
    tokens = [at for at, frame in zip(seen.at, seen.frames, strict=True) if "token" in frame.data]
    # Each comes before the model has written five more: none waits in a buffer.
    for at, later in zip(tokens, written[5:], strict=False):
        assert at < later.at
    assert seen.last["success"] is True


def test_a_stream_says_what_it_is_and_its_headers_survive(client: Client) -> None:
    with client.stream("[[words 2]]") as reply:
        assert reply.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert reply.headers["Cache-Control"] == "no-cache, no-transform"
        assert reply.headers["Transfer-Encoding"] == "chunked"
        assert reply.headers["X-Turn-ID"]
        assert reply.headers["X-Request-ID"]
        assert reply.text.endswith("\n\n")


def test_without_a_key_or_with_a_wrong_one_a_caller_is_told_what_to_send(
    address: str, another: Callable[..., Client]
) -> None:
    for key in (None, "wrong-" * 8):
        detail = problem(another(address, key).ask("hello"), 401, "unauthorized")
        assert "Authorization: Bearer" in detail["error"]
    assert another(address).get("/health/live").status_code == 200


def test_a_server_without_keys_says_which_setting_lets_callers_in(
    staged: Callable[..., Stage], tmp_path: Path, another: Callable[..., Client]
) -> None:
    stage = staged()
    with nginx(tmp_path / "nginx", stage.server.port) as url:
        detail = problem(another(url).ask("hello"), 401, "unauthorized")
        assert "COWORK_API_KEYS" in detail["error"]
    assert not stage.model.requests


@pytest.mark.parametrize("path", ASK_PATHS)
def test_a_client_that_leaves_ends_the_turn(stage: Stage, client: Client, path: str) -> None:
    question = f"[[words 900]] [[delay 20]] {path}"
    body = json.dumps({"project_name": "left", "question": question}).encode()
    address = urlsplit(client.url)
    line = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    line.request("POST", path, body, {**AUTHORIZED, "Content-Type": "application/json"})
    exchange = stage.wait_words(question)
    line.close()
    assert stage.model.wait_until(lambda _model: exchange.ending == "left", 5)
    assert len(exchange.words) < 300
    assert client.ask("[[say well]]", "left").json()["message"] == "well"


def test_a_body_over_the_limit_is_refused_in_the_servers_own_shape(client: Client) -> None:
    length = str(32 * 2**20 + 1)
    headers = {**AUTHORIZED, "Content-Type": "application/json", "Content-Length": length}
    problem(send(client, "POST", "/ask_question", headers=headers), 413, "payload_too_large")


def test_a_megabyte_gets_through(client: Client) -> None:
    words = "word " * 200_000
    reply = client.ask(f"[[say it was read]] {words}", "large")
    assert reply.json()["message"] == "it was read"


def test_a_poll_token_is_in_no_log(stage: Stage, client: Client) -> None:
    client.get("/xo-auth/status/some-session?poll_token=a-secret-of-the-tests")

    def logged() -> str:
        return "".join(log.read_text() for log in (stage.folder / "nginx").glob("*.log"))

    # nginx writes the line when the answer is out.
    wait_for(lambda: "/xo-auth/status/some-session" in logged(), what="the line in nginx's log")
    assert "a-secret-of-the-tests" not in logged()


def _hold(url: str) -> socket.socket:
    """A request under way: its head is there, its body is not."""
    line = _dial(url)
    line.sendall(
        b"POST /xo-auth/logout HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\n\r\n{"
    )
    return line


def _dial(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((str(address.hostname), address.port or 80), timeout=30)


def test_fault_s10_one_address_has_a_hundred_requests_under_way_and_no_more(
    stage: Stage, tmp_path: Path, another: Callable[..., Client]
) -> None:
    with nginx(tmp_path / "nginx", stage.server.port) as url, contextlib.ExitStack() as held:
        lines = [held.enter_context(contextlib.closing(_hold(url))) for _ in range(99)]
        client = another(url, KEY)

        def status() -> int:
            time.sleep(0.05)  # slower than what is refused for its haste
            return client.get("/sessions").status_code

        # One more is honest use; of those that wait none is refused.
        wait_for(lambda: status() == 200, what="the hundredth")
        lines.append(held.enter_context(contextlib.closing(_hold(url))))

        wait_for(lambda: status() != 200, what="the hundred and first")
        reply = client.get("/sessions")
        problem(reply, 429, "too_many_requests")
        assert reply.headers["Retry-After"] == "1"
        for line in lines:
            line.close()
        wait_for(lambda: status() == 200, what="a place")


def test_fault_s10_one_address_asks_fifty_times_a_second_after_two_hundred_at_once(
    stage: Stage, tmp_path: Path, another: Callable[..., Client]
) -> None:
    with nginx(tmp_path / "nginx", stage.server.port) as url:
        client = another(url, KEY)
        assert {client.get("/sessions").status_code for _ in range(190)} == {200}
        with _dial(url) as line:
            # Faster than anybody's machine is slow: not one of them is waited for.
            ask = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
            line.sendall((ask + b"\r\n") * 900 + ask + b"Connection: close\r\n\r\n")
            told = b"".join(iter(lambda: line.recv(65536), b""))
        assert b"HTTP/1.1 429 " in told
        assert b'"code": "too_many_requests"' in told
        refused = told.count(b"HTTP/1.1 429 ")
        assert refused > 100
        wait_for(lambda: client.get("/sessions").status_code == 200, what="the next second")
