"""`POST /v1/chat/completions`: what it answers, and what is told of the turn behind it."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from tests.contract.dialects.completions import chunks, complete, error_of, text_of
from tests.contract.replies import is_uuid
from tests.serving import Served, wait_for


def test_an_answer_is_a_completion(served: Served) -> None:
    reply = complete(served, "[[words 3]]", model="cowork")
    assert reply.status_code == 200
    said = reply.json()
    assert said["choices"][0]["message"]["content"] == "w1 w2 w3"
    assert said["choices"][0]["finish_reason"] == "stop"
    assert said["model"] == "cowork"
    assert said["usage"]["total_tokens"] > 0
    turn = served.get(f"/turns/{said['cowork']['turn_id']}").json()
    assert turn["message"] == "w1 w2 w3"
    assert said["id"] == f"chatcmpl-{turn['turn_id']}"
    assert said["cowork"]["session_id"] == turn["session_id"]


def test_a_reply_names_its_turn_and_its_session(served: Served) -> None:
    reply = complete(served, "hi", headers={"X-Cowork-Project": "caf%C3%A9"})
    assert is_uuid(reply.headers["X-Turn-ID"])
    assert reply.headers["X-Cowork-Project"] == "caf%C3%A9"
    assert reply.headers["X-Session-State"] in {"new", "continued"}
    assert reply.headers["request-id"] == reply.headers["X-Request-ID"]
    assert "café" in served.get("/sessions").text


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "*/*"])
def test_the_body_alone_decides_whether_it_streams(served: Served, accept: str) -> None:
    headers = {"Accept": accept}
    assert text_of(chunks(complete(served, "[[words 3]]", headers=headers, stream=True))) == (
        "w1 w2 w3"
    )
    assert complete(served, "[[words 3]]", headers=headers).json()["object"] == "chat.completion"


@pytest.mark.parametrize(
    ("scene", "status", "code"),
    [
        ("[[fail 529]]", 503, "claude_overloaded"),
        ("[[fail 429]]", 429, "claude_rate_limited"),
        ("[[fail 400]]", 502, "claude_api_error"),
        ("[[fail not_logged_in]]", 503, "claude_not_authenticated"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_fails_at_once_is_a_status(
    served: Served, scene: str, status: int, code: str, stream: bool
) -> None:
    reply = complete(served, scene, stream=stream)
    error_of(reply, status, code)
    assert reply.headers["x-should-retry"] == "false"


def test_what_fails_later_is_said_in_the_stream(served: Served) -> None:
    *_, last = chunks(complete(served, "[[die]]", stream=True))
    assert last["error"]["code"] == "claude_failed"
    assert last["error"]["type"] == "server_error"


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_is_an_answer_that_was_filtered(served: Served, stream: bool) -> None:
    reply = complete(served, "[[fail refusal]]", stream=stream)
    said = chunks(reply)[-1] if stream else reply.json()
    assert said["choices"][0]["finish_reason"] == "content_filter"


def test_an_unknown_model_is_not_found(served: Served) -> None:
    error = error_of(complete(served, "hi", model="gpt-4o"), 404, "model_not_found")
    assert "/v1/models" in error["message"]
    assert error["param"] == "model"


def test_an_image_reaches_the_cli(served: Served) -> None:
    data = BytesIO()
    Image.new("RGB", (1, 1)).save(data, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
    image = {"type": "image_url", "image_url": {"url": url}}
    asked = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]
    assert complete(served, asked).status_code == 200
    image["image_url"]["url"] = url.replace("image/png", "image/gif")
    error_of(complete(served, asked), 400, "invalid_value")
    image["image_url"]["url"] = "https://example.com/x.png"
    error = error_of(complete(served, asked), 400, "invalid_value")
    assert "nothing is fetched" in error["message"]


def test_tools_are_ignored_and_said_to_be(served: Served) -> None:
    tools = [{"type": "function", "function": {"name": "add"}}]
    reply = complete(served, "hi", tools=tools, temperature=0.5)
    assert reply.status_code == 200
    assert reply.headers["X-Cowork-Ignored"] == "tools, temperature"


def test_tools_are_refused_where_the_operator_says_so(serve: Any) -> None:
    tools = [{"type": "function", "function": {"name": "add"}}]
    reply = complete(serve(COWORK_COMPAT_TOOLS="reject"), "hi", tools=tools)
    assert error_of(reply, 400, "invalid_value")["param"] == "tools"


def test_an_interrupt_is_a_conflict(served: Served, background: Any) -> None:
    asked = background(complete, served, "[[hang]]", headers={"X-Cowork-Project": "p"})
    wait_for(lambda: served.post("/sessions/p/interrupt").json().get("turn_id"))
    reply = asked.result()
    assert error_of(reply, 409, "turn_interrupted")["type"] == "conflict_error"
    assert reply.headers["x-should-retry"] == "false"


def test_what_waits_for_a_process_in_vain_may_be_tried_again(serve: Any, background: Any) -> None:
    served = serve(COWORK_MAX_PROCESSES="1", COWORK_QUEUE_TIMEOUT="0.1", COWORK_SPARE_PROCESSES="0")
    running = background(served.ask, "[[stall]]", "busy")
    wait_for(lambda: served.get("/processes").json()["processes"])
    for stream in (False, True):
        reply = complete(served, "hi", stream=stream)
        error_of(reply, 503, "at_capacity")
        assert reply.headers["x-should-retry"] == "true"
        assert int(reply.headers["Retry-After"]) >= 1
    served.post("/sessions/busy/interrupt")
    assert running.result().status_code == 409


def test_a_turn_that_a_shutdown_ends_is_not_asked_again(gunicorn: Any, background: Any) -> None:
    server = gunicorn(COWORK_GRACEFUL_TIMEOUT="5")
    asked = background(complete, server, "[[hang]]", headers={"X-Cowork-Project": "p"})
    wait_for(lambda: server.get("/sessions/p").status_code == 200)
    wait_for(lambda: server.get("/sessions/p").json()["state"] == "running")
    server.stop()
    reply = asked.result()
    error_of(reply, 503, "shutting_down")
    assert reply.headers["x-should-retry"] == "false"
