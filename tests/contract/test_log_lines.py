"""What the log says of requests, turns and processes: who, how long and why, and no text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.serving import Client, Gunicorn, frames, wait_for
from tests.upstream import Upstream, until

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
KEY = "canary-api-key-of-the-log-0123456789"


class Lines:
    """The lines of a server's log."""

    def __init__(self, server: Gunicorn) -> None:
        self._server = server

    def of(self, event: str, **fields: object) -> list[dict[str, Any]]:
        lines = self._server.log.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [each for each in found if each["event"] == event and fields.items() <= each.items()]

    def wait(self, event: str, **fields: object) -> dict[str, Any]:
        wait_for(lambda: self.of(event, **fields), what=f"{event} {fields}")
        return self.of(event, **fields)[0]


@pytest.fixture
def server(gunicorn: Callable[..., Gunicorn]) -> Gunicorn:
    server = gunicorn(
        COWORK_API_KEYS=f"me={KEY}", COWORK_LOG_LEVEL="info", COWORK_LOG_FORMAT="json"
    )
    server.http.headers["Authorization"] = f"Bearer {KEY}"
    return server


@pytest.fixture
def lines(server: Gunicorn) -> Iterator[Lines]:
    yield Lines(server)
    text = server.log.read_text()
    assert "canary-question" not in text
    assert "w1 w2" not in text
    assert KEY not in text


def test_a_turn_is_told_at_its_beginning_and_with_what_it_took(
    server: Gunicorn, lines: Lines
) -> None:
    reply = server.ask("[[words 5]] canary-question", "mine")
    turn_id, session = reply.headers["X-Turn-ID"], reply.json()["session_id"]
    begun, ended = (lines.wait(f"turn {what}", turn_id=turn_id) for what in ("began", "ended"))
    who = {"project": "mine", "key": "me", "session_id": session, "start": "new"}
    request_id = reply.headers["X-Request-ID"]
    for line in (begun, ended):
        assert (who | {"request_id": request_id}).items() <= line.items()
        assert line["queue_ms"] >= 0
    assert (ended["state"], ended["code"], ended["resumes"]) == ("succeeded", None, 0)
    assert 0 <= ended["first_token_ms"] <= ended["ms"] + 1
    assert ended["tokens_in"] > 0
    assert ended["tokens_out"] > 0
    assert ended["cost_usd"] > 0
    assert ended["cli_version"]
    (worker,) = server.workers()
    assert begun["worker"] == ended["worker"] == worker
    asked = lines.wait("request", turn_id=turn_id)
    facts = {"route": "/ask_question", "peer": "127.0.0.1", "key": "me", "status": 200}
    assert facts.items() <= asked.items()
    assert asked["bytes"] == len(reply.content)
    server.delete("/sessions/mine")
    process = lines.wait("process ended", pid=ended["cli_pid"])
    assert (process["why"], process["project"], process["turns"]) == ("deleted", "mine", 1)
    assert {"age_s", "memory", "exit"} <= process.keys()


def test_a_stream_is_told_at_its_end_with_how_it_was_left(
    server: Gunicorn, lines: Lines, another: Callable[..., Client]
) -> None:
    with server.stream("[[words 30]] [[delay 5]] canary-question") as reply:
        whole = reply.headers["X-Turn-ID"]
        size = len(b"".join(reply.iter_content(1024)))
    done = lines.wait("request", turn_id=whole)
    assert (done["how"], done["bytes"], done["status"]) == ("done", size, 200)
    assert done["ms"] >= 100
    leaving = another(server, KEY)
    with leaving.stream("[[words 300]] [[delay 20]] canary-question", "left") as reply:
        left = reply.headers["X-Turn-ID"]
        last = [next(frames(reply)) for _ in range(3)][-1]
    leaving.close()
    gone = lines.wait("request", turn_id=left)
    assert gone["how"] == "client_left"
    assert gone["bytes"] > 0
    again = {"Last-Event-ID": last.id}
    with server.get(f"/turns/{left}/events", headers=again, stream=True) as reply:
        next(frames(reply))
        server.post(f"/turns/{left}/interrupt")
    ended = lines.wait("turn ended", turn_id=left)
    assert (ended["resumes"], ended["code"]) == (1, "turn_interrupted")


def test_the_trace_of_a_request_is_in_its_lines_and_goes_on_to_the_chat_api(
    gunicorn: Callable[..., Gunicorn], upstream: Upstream
) -> None:
    server = gunicorn(
        CHAT_API_BASE_URL=upstream.url, COWORK_LOG_LEVEL="info", COWORK_LOG_FORMAT="json"
    )
    lines, body = Lines(server), {"project_name": "p", "question": "hi"}
    traced = server.post("/ask_question", body, headers={"traceparent": TRACE})
    untraced = server.post("/ask_question", body)  # by the same connection
    for event in ("request", "turn began", "turn ended"):
        line = lines.wait(event, turn_id=traced.headers["X-Turn-ID"])
        assert line["traceparent"] == TRACE, event
        other = lines.wait(event, turn_id=untraced.headers["X-Turn-ID"])
        assert "traceparent" not in other, event
    until(lambda: len(upstream.messages) == 4)
    sent = [seen.headers.get("traceparent") for seen in upstream.seen]
    assert sent == [TRACE, TRACE, None, None]
    with server.http.post(
        f"{server.url}/ask_question_streaming",
        json=body,
        headers={"traceparent": TRACE},
        timeout=20,
    ) as reply:
        line = lines.wait("request", turn_id=reply.headers["X-Turn-ID"])
    assert line["traceparent"] == TRACE


def test_a_refused_request_is_told_with_its_peer_and_no_key(server: Gunicorn, lines: Lines) -> None:
    reply = server.get("/sessions", headers={"Authorization": f"Bearer {KEY}x"})
    assert reply.status_code == 401
    line = lines.wait("request", request_id=reply.headers["X-Request-ID"])
    assert (line["status"], line["key"], line["route"]) == (401, None, "/sessions")
    assert line["peer"] == "127.0.0.1"
