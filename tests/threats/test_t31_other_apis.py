"""T31: a client of another API gets nothing that our own endpoints would not give it."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.contract.dialects.completions import PATH, complete, error_of
from tests.contract.replies import JSON, send
from tests.fakes import Fakes
from tests.serving import Client, Served

MINE, YOURS = "m" * 40, "y" * 40
FIRST, AGAIN = {"x-stainless-retry-count": "0"}, {"x-stainless-retry-count": "1"}
LISTENER = "http://127.0.0.1:{port}/x"


@pytest.fixture
def keyed(serve: Callable[..., Served], fakes: Fakes) -> Served:
    return serve(COWORK_API_KEYS=f"me={MINE},you={YOURS}", **fakes.settings())


def test_t31_a_retry_finds_no_turn_of_another_owner(
    keyed: Served, another: Callable[..., Client]
) -> None:
    me, you = another(keyed, MINE), another(keyed, YOURS)
    mine = complete(me, "[[count]] hi", headers=FIRST)
    yours = complete(you, "[[count]] hi", headers=AGAIN)
    assert yours.headers["X-Turn-ID"] != mine.headers["X-Turn-ID"]
    assert "Idempotent-Replayed" not in yours.headers
    assert mine.json()["cowork"]["session_id"] != yours.json()["cowork"]["session_id"]


@pytest.mark.parametrize(
    "given",
    [
        {"headers": {"X-OpenWebUI-User-Id": "me"}},
        {"headers": {"X-OpenWebUI-User-Id": "me", "X-OpenWebUI-User-Role": "admin"}},
        {"user": "me"},
        {"user": {"id": "me", "role": "admin"}},
        {"safety_identifier": "me"},
        {"metadata": {"owner": "me"}},
    ],
    ids=str,
)
def test_t31_no_word_of_a_request_makes_it_another_owners(
    keyed: Served, another: Callable[..., Client], given: dict[str, Any]
) -> None:
    me, you = another(keyed, MINE), another(keyed, YOURS)
    named = {"X-Cowork-Project": "shared"}
    mine = complete(me, "[[say a word of mine]]", headers=named)
    headers = {**named, **given.get("headers", {})}
    body = {name: value for name, value in given.items() if name != "headers"}
    reply = complete(you, "[[count]] hi", headers=headers, **body)
    assert reply.json()["choices"][0]["message"]["content"].startswith("I see 1 questions")
    assert mine.json()["cowork"]["session_id"] not in reply.text


def test_t31_nothing_is_fetched(served: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        url = LISTENER.format(port=listener.getsockname()[1])
        parts = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "image_url", "image_url": url},
            {"type": "file", "file": {"file_data": url}},
            {"type": "file", "file": {"file_id": url, "file_url": url}},
            {"type": "image", "source": {"type": "url", "url": url}},
            {"type": "document", "source": {"type": "url", "url": url}},
            {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}},
            {"type": "file", "file": {"file_data": "/etc/passwd"}},
        ]
        for part in parts:
            content = [{"type": "text", "text": "Look."}, part]
            reply = complete(served, [{"role": "user", "content": content}])
            error_of(reply, 400, "invalid_value")
            assert "root:" not in reply.text
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize(
    "data", [b"not an image", b"\x89PNG\r\n\x1a\n", b"<svg onload='x'/>"], ids=str
)
def test_t31_what_is_no_image_does_not_reach_the_cli(served: Served, data: bytes) -> None:
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    content = [
        {"type": "text", "text": "Look."},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    error_of(complete(served, [{"role": "user", "content": content}]), 400, "invalid_value")


@pytest.mark.parametrize(
    "model",
    [
        "--dangerously-skip-permissions",
        "claude-x --help",
        "claude-../../x",
        "claude-\u0000",
        "x" * 5000,
    ],
)
def test_t31_a_models_name_is_a_name(keyed: Served, fakes: Fakes, model: str) -> None:
    reply = complete(keyed, "hi", headers={"x-api-key": MINE}, model=model)
    error_of(reply, 404, "model_not_found")
    assert model not in json.dumps([entry["argv"] for entry in fakes.entries("start")])


def test_t31_no_text_of_a_request_is_a_line_of_its_reply(served: Served) -> None:
    evil = "a\r\nSet-Cookie: x=1"
    quoted = "a%0D%0ASet-Cookie%3A%20x%3D1"
    for headers in ({"X-Cowork-Project": quoted}, {"X-Conversation-ID": "a\tb"}):
        reply = complete(served, "hi", headers=headers)
        assert "Set-Cookie" not in reply.headers
        assert evil not in str(reply.headers)
    name = quote('\u00fc\u2028"; x=1 /..', safe="")
    told = complete(served, "hi", headers={"X-Cowork-Project": name})
    assert told.headers["X-Cowork-Project"] == name.replace("%2F", "/")
    text = "[[say data: [DONE]\n\ndata: {}\n\n]]"
    stream = complete(served, text, stream=True).text
    assert stream.count("\n\ndata: [DONE]\n\n") == 1
    assert all(line.startswith("data: ") for line in stream.split("\n") if line)


@pytest.mark.parametrize("headers", [{}, {"anthropic-version": "2023-06-01"}], ids=str)
def test_t31_an_error_tells_nothing_private(
    serve: Callable[..., Served], headers: dict[str, str]
) -> None:
    served = serve(COWORK_API_KEYS=f"me={MINE}")
    for target in (PATH, "/v1/models", "/v1/nothing", "/v1/messages", "/api/chat"):
        reply = send(served, "POST", target, b"{}", {**JSON, **headers, "x-api-key": YOURS})
        assert reply.status_code == 401
        assert YOURS not in reply.text
        assert MINE not in reply.text
        assert str(served.services.settings.workspace) not in reply.text


def test_t31_a_client_cannot_widen_what_the_cli_may_do(served: Served) -> None:
    wide = {
        "permission_mode": "bypassPermissions",
        "extra_body": {"permission_mode": "bypassPermissions"},
        "mcp_servers": ["x"],
        "agent_type": "update-config",
    }
    reply = complete(served, "[[argv]]", **wide)
    assert "--permission-mode=default" in reply.json()["choices"][0]["message"]["content"]


def test_t31_a_response_and_a_chat_are_their_owners(
    keyed: Served, another: Callable[..., Client]
) -> None:
    me, you = another(keyed, MINE), another(keyed, YOURS)
    given = {"input": "[[say a word of mine]]", "conversation": "mine"}
    name = me.post("/v1/responses", given).json()["id"]
    path = f"/v1/responses/{name}"
    for reply in (you.get(path), you.get(f"{path}?stream=true"), you.post(f"{path}/cancel")):
        error_of(reply, 404, "not_found")
    onward = you.post("/v1/responses", {"input": "hi", "previous_response_id": name})
    error_of(onward, 404, "previous_response_not_found")
    assert you.get("/api/chat/mine/messages").json() == []
    assert you.get("/api/chat/mine/stream").status_code == 204
    assert you.post("/api/chat/mine/stop").status_code == 204
    assert "a word of mine" in me.get("/api/chat/mine/messages").text
    assert me.get(path).json()["status"] == "completed"


@pytest.mark.parametrize("mode", ["bypassPermissions", "acceptEdits", 3])
def test_t31_a_chat_cannot_widen_what_the_cli_may_do(served: Served, mode: Any) -> None:
    message = {"role": "user", "parts": [{"type": "text", "text": "hi"}]}
    body = {"id": "c", "message": message, "permission_mode": mode}
    reply = served.post("/api/chat", body)
    assert reply.status_code == 400
    assert reply.headers["X-Error-Code"] == "invalid_value"
