"""T14: no text breaks out of its frame, its header or its line in the log."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from tests.contract.replies import JSON, invalid, post_text, send
from tests.serving import Gunicorn, Served, joined

BREAKS = [
    'a\n\ndata: {"done": true}\n\nb',
    "a\r\rdata: x\r\n\r\nb",
    "id: 1\nevent: x\nretry: 0\n: comment",
    "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg",
    "nul \0 and escape \x1b[2J and bell \a",
    '"}\n\n{"type": "error"',
]


def test_t14_what_a_model_says_stays_in_its_frame(served: Served) -> None:
    for text in BREAKS:
        for events in ([], ["tool", "thinking", "status"]):
            seen = served.streamed(f"[[say {text}]]", events=events)
            assert joined(seen) == text
            assert [frame.data.get("done") for frame in seen].count(True) == 1
            assert seen[-1].data["success"] is True
        assert served.ask(f"[[say {text}]]").json()["message"] == text


def test_t14_no_name_with_a_line_of_its_own_is_one(served: Served) -> None:
    for name in ("a\nb", "a\r\nX-Evil: 1", "\n", "a\0b", "a\x85b", "a\x1b[31mb"):
        body = json.dumps({"project_name": name, "question": "hi"})
        invalid(post_text(served, "/ask_question", body), "body", "project_name")


def test_t14_no_log_tells_a_terminal_what_to_do(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(COWORK_LOG_LEVEL="info", COWORK_LOG_FORMAT="text")
    for path in ("/%1b[2J%1b]0;x%07", "/%0d%0aevent", "/a%c2%9b2Jb", "/%e2%80%a8x", "/%00"):
        assert send(server, "GET", path).status_code == 404
    server.stop()
    text = server.log.read_bytes().decode()
    assert text.count("request ") >= 5
    assert not re.search("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028\\u2029]", text)
    assert not re.search("(?m)^event", text)


def test_t14_a_line_in_the_log_is_one_request(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(COWORK_LOG_LEVEL="info", COWORK_LOG_FORMAT="json")
    forged = "%0a%7b%22event%22%3a%22forged%22%7d%0d%0a"
    for headers in ({}, {"X-Request-ID": 'x", "forged": "1'}, {"X-Request-ID": "a" * 200}):
        assert send(server, "GET", f"/nope/{forged}", None, headers).status_code == 404
        assert send(server, "DELETE", f"/sessions/{forged}", None, headers).status_code == 422
    reply = send(server, "POST", "/ask_question", b"{", {**JSON, "Idempotency-Key": "a b"})
    assert reply.status_code == 422
    server.stop()
    lines = [line for line in server.log.read_text().splitlines() if line.startswith("{")]
    events = [json.loads(line) for line in lines]
    assert len([event for event in events if event["event"] == "request"]) >= 7
    assert not [event for event in events if event.get("forged") or event["event"] == "forged"]
