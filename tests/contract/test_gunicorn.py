"""Real gunicorn: what a server between the socket and Flask could spoil.

Each start costs a second or two, so that a test here asks one server for several things.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from tests.background import BackgroundCalls
from tests.contract.replies import JSON, delete, problem, send
from tests.fake_claude import Lifelines
from tests.fakes import Fakes
from tests.serving import ROOT, Client, Gunicorn, frames, joined
from tests.upstream import FLOODS, Upstream

Another = Callable[..., Client]
LIMIT = 2048
KEY = "canary-api-key-0123456789-0123456789"
NAMES = ["a/b", "a//b", "/lead", "lead", "..", "x/messages", "a%2Fb", "😀", "a?b"]
SECRETS = {
    "CHAT_API_TOKEN": "canary-chat-token",
    "COWORK_API_KEYS": f"me={KEY}",
    "SOME_OTHER_SECRET": "canary-other",
    "GUNICORN_CMD_ARGS": "--name canary-gunicorn",
}


def test_gunicorn_streams_as_it_goes_and_takes_large_questions(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    server = gunicorn()
    with server.stream("[[delay 60]] [[words 6]]") as reply:
        assert reply.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert reply.headers["Cache-Control"] == "no-cache, no-transform"
        assert reply.headers["X-Accel-Buffering"] == "no"
        seen = [(time.monotonic(), frame) for frame in frames(reply)]
    assert joined([frame for _, frame in seen]) == "w1 w2 w3 w4 w5 w6"
    assert seen[-1][0] - seen[0][0] > 0.25
    megabyte = "wörter-und-mehr-" * 65_536
    assert server.ask(megabyte).json()["message"] == f"You said: {megabyte}"


def test_gunicorn_passes_every_name_and_an_interrupt(
    gunicorn: Callable[..., Gunicorn], fakes: Fakes, background: BackgroundCalls, another: Another
) -> None:
    server = gunicorn(COWORK_MAX_PROCESSES="4", **fakes.settings())
    ids = {name: server.ask("hi", name).json()["session_id"] for name in NAMES}
    assert len(set(ids.values())) == len(NAMES)
    assert server.get("/sessions").json()["sessions"] == ids
    asked = background(another(server).ask, "[[hang]]", NAMES[0])
    fakes.wait_asked(len(NAMES) + 1)
    for name in NAMES:
        expected = {"success": True, "message": f"Session cleared for {name}"}
        assert delete(server, name).json() == expected
    problem(asked.result(), 409, "turn_interrupted")
    assert server.get("/sessions").json() == {"sessions": {}, "count": 0}


def test_nobody_outside_and_no_large_body_gets_past_gunicorn(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    server = gunicorn(COWORK_MAX_BODY=str(LIMIT))
    for chunked in (False, True):
        fits = send(server, "POST", "/ask_question", _of_size(LIMIT), JSON, chunked=chunked)
        assert fits.status_code == 200, fits.text
        body = _of_size(LIMIT + 1)
        reply = send(server, "POST", "/ask_question", body, JSON, chunked=chunked)
        assert reply.status_code == 413
        assert list(reply.json()) == ["detail"]
    for header in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        problem(send(server, "GET", "/sessions", None, header), 403, "forbidden")
    for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded"):
        reply = send(server, "GET", "/sessions", None, {header: "203.0.113.9"})
        problem(reply, 401, "unauthorized")
    reply = send(server, "GET", "/nope")
    assert reply.json() == {"detail": "Not Found"}
    assert reply.headers["x-request-id"]


def test_a_reply_says_whether_the_connection_can_be_used_again(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    server = gunicorn()
    for size, said in ((1000, "keep-alive"), (200_000, "close")):
        for chunked in (False, True):
            reply = send(server, "POST", "/nope", b"x" * size, JSON, chunked=chunked)
            assert reply.status_code == 404
            assert reply.headers["connection"] in {said, "close" if chunked else said}
            read = send(server, "POST", "/ask_question", _of_size(size), JSON, chunked=chunked)
            assert (read.status_code, read.headers["connection"]) == (200, "keep-alive")


def _of_size(size: int) -> bytes:
    empty = json.dumps({"project_name": "p", "question": "q", "filler": ""})
    return empty.replace('""', f'"{"x" * (size - len(empty))}"').encode()


def test_a_disconnect_from_gunicorn_leaves_nothing_and_its_secrets_stay_its_own(
    gunicorn: Callable[..., Gunicorn],
    lifelines: Lifelines,
    another: Another,
    fake_environ: dict[str, str],
) -> None:
    settings = {"COWORK_IDLE_TIMEOUT": "0.2", **lifelines.environment, **SECRETS}
    server = another(gunicorn(**settings), KEY)
    with another(server, KEY).stream("[[delay 10]] [[words 20]]") as reply:
        next(frames(reply))
    assert lifelines.wait_for(0), f"{lifelines.held} processes left"
    assert server.ask("[[count]] hi").json()["message"].startswith("I see 2 questions")
    environment = json.loads(server.ask("[[env]]").json()["message"])
    assert "canary" not in json.dumps(environment)
    assert environment["HOME"] == fake_environ["HOME"]
    folder = server.ask("[[cwd]]").json()["message"]
    assert not Path(folder).resolve().is_relative_to(ROOT)


# Without end and with always more to read; what ends of itself soon proves nothing here.
FLOODING = ("interim replies", "one-byte chunks", "trailers", "one chunk extension")


def test_fault_s7_others_are_answered_while_an_upstream_floods(
    gunicorn: Callable[..., Gunicorn],
    upstream: Upstream,
    background: BackgroundCalls,
    another: Another,
) -> None:
    server = gunicorn(CHAT_API_BASE_URL=upstream.url)
    asked = server.get("/health/live").elapsed
    slowest = asked
    for name in FLOODING:
        upstream.always(FLOODS[name])
        flooded = [background(another(server).post, "/xo-auth/start", {}) for _ in range(2)]
        while not all(each.done() for each in flooded):
            slowest = max(slowest, server.get("/health/live").elapsed)
        for each in flooded:
            problem(each.result(), 502, "bad_upstream")
    # Each flood of these held the loop for ten seconds and more.
    assert slowest.total_seconds() < 2.0
