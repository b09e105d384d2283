"""What is refused before any route is in the shape that the client reads, and pages may call."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.replies import JSON, Raw, send
from tests.serving import Served, wait_for

KEY, OTHER = "k" * 32, "o" * 32
CHAT = "/v1/chat/completions"
ASKED = json.dumps({"messages": [{"role": "user", "content": "hi"}]}).encode()
VERSION = {"anthropic-version": "2023-06-01"}
PAGE = "https://app.example.com"


def refused(reply: Raw, status: int, kind: str, *, retried: bool = False) -> dict[str, Any]:
    """Check an error in OpenAI's shape."""
    assert reply.status_code == status, reply.text
    said = reply.json()
    assert said.keys() == {"error"}
    assert said["error"].keys() == {"message", "type", "param", "code"}
    assert said["error"]["type"] == kind
    assert reply.headers["x-should-retry"] == ("true" if retried else "false")
    assert reply.headers["request-id"] == reply.headers["x-request-id"]
    return said["error"]


def test_without_a_key_a_client_reads_why(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_API_KEYS=f"me={KEY}")
    for given in ({}, {"Authorization": "Bearer wrong"}, {"x-api-key": "wrong"}):
        error = refused(
            send(served, "POST", CHAT, ASKED, {**JSON, **given}), 401, "invalid_request_error"
        )
        assert error["code"] == "invalid_api_key"
    said = send(served, "GET", "/v1/models", headers=VERSION).json()
    assert said["error"]["type"] == "authentication_error"
    assert said["request_id"]
    reply = send(served, "POST", "/v1/messages", ASKED, JSON)
    assert reply.json()["error"]["type"] == "authentication_error"
    reply = send(served, "GET", "/api/chat/x/stream")
    assert reply.status_code == 401
    assert reply.headers["content-type"].startswith("text/plain")
    assert reply.headers["x-error-code"] == "unauthorized"


def test_a_key_comes_in_either_header_and_the_bearer_counts(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_API_KEYS=f"me={KEY},you={OTHER}")
    bearer = {"Authorization": f"Bearer {KEY}", "X-Cowork-Project": "mine"}
    for headers in (bearer, {"x-api-key": KEY}, {**bearer, "x-api-key": OTHER}):
        assert send(served, "POST", CHAT, ASKED, {**JSON, **headers}).status_code == 200
    mine = send(served, "GET", "/sessions", headers={"x-api-key": KEY}).text
    assert "mine" in mine
    assert "mine" not in send(served, "GET", "/sessions", headers={"x-api-key": OTHER}).text


def test_without_keys_any_is_taken(served: Served) -> None:
    for headers in ({"Authorization": "Bearer sk-none"}, {"x-api-key": "none"}):
        assert send(served, "POST", CHAT, ASKED, {**JSON, **headers}).status_code == 200


@pytest.mark.parametrize(
    ("asked", "headers", "status"),
    [
        (("POST", CHAT, ASKED), {"Host": "evil.example.com"}, 403),
        (("POST", CHAT, ASKED), {"Origin": "https://evil.example.com"}, 403),
        (("GET", "/v1/nothing", None), {}, 404),
        (("GET", CHAT, None), {}, 405),
        (("POST", CHAT, ASKED), {"Content-Type": "text/plain"}, 415),
        (("POST", CHAT, ASKED), {"Content-Encoding": "gzip"}, 415),
        (("POST", CHAT, b'{"messages": ['), {}, 400),
        (("POST", CHAT, b"[]"), {}, 400),
        (("POST", CHAT, b'{"n": 1, "n": 2}'), {}, 400),
        (("POST", CHAT, b"{}"), {}, 400),
        (("POST", CHAT, b'{"messages": "%s"}' % (b"x" * 3000)), {}, 413),
    ],
)
def test_what_is_refused_has_the_clients_shape(
    serve: Callable[..., Served],
    asked: tuple[str, str, bytes | None],
    headers: dict[str, str],
    status: int,
) -> None:
    served = serve(COWORK_MAX_BODY="2048")
    refused(send(served, *asked, {**JSON, **headers}), status, "invalid_request_error")
    if headers.get("Host") is None:  # the same, to a client of Anthropic
        reply = send(served, *asked, {**JSON, **headers, **VERSION})
        assert reply.status_code == status
        assert reply.json()["type"] == "error"


def test_a_full_queue_may_be_tried_again(serve: Callable[..., Served], background: Any) -> None:
    served = serve(COWORK_QUEUE_LIMIT="0")
    headers = {**JSON, "X-Cowork-Project": "p"}
    running = background(served.ask, "[[pause 700]] hi")
    wait_for(lambda: served.get("/sessions/p").status_code == 200 or running.done())
    reply = send(served, "POST", CHAT, ASKED, headers)
    error = refused(reply, 429, "rate_limit_error", retried=True)
    assert error["code"] == "queue_full"
    assert int(reply.headers["retry-after"]) >= 1
    busy = send(served, "POST", CHAT, ASKED, {**headers, "X-On-Busy": "reject"})
    assert refused(busy, 409, "conflict_error")["code"] == "project_busy"
    assert running.result().status_code == 200


def test_a_header_that_is_no_choice_is_named(served: Served) -> None:
    for name in ("X-On-Busy", "X-Cowork-Events"):
        reply = send(served, "POST", CHAT, ASKED, {**JSON, name: "nonsense"})
        assert refused(reply, 400, "invalid_request_error")["param"] == name


def test_a_page_may_send_what_its_client_sends(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_ALLOWED_ORIGINS=PAGE, COWORK_API_KEYS=f"me={KEY}")
    asked = "authorization,content-type,x-stainless-os,anthropic-dangerous-direct-browser-access"
    preflight = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }
    reply = send(served, "OPTIONS", CHAT, headers=preflight)
    assert reply.status_code == 204
    assert reply.headers["access-control-allow-headers"].replace(" ", "") == asked
    assert "POST" in reply.headers["access-control-allow-methods"]
    evil = send(served, "OPTIONS", CHAT, headers={**preflight, "Origin": "https://evil.example"})
    assert "access-control-allow-headers" not in evil.headers
    headers = {**JSON, "Origin": PAGE, "Authorization": f"Bearer {KEY}"}
    exposed = send(served, "POST", CHAT, ASKED, headers).headers["access-control-expose-headers"]
    for name in ("request-id", "x-should-retry", "X-Cowork-Project", "X-Session-State"):
        assert name in exposed
    assert "X-Cowork-Ignored" in exposed


def test_too_many_wrong_keys_are_told_so(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_API_KEYS=f"me={KEY}")
    for _ in range(30):
        assert send(served, "GET", "/v1/models", headers={"x-api-key": "no"}).status_code == 401
    reply = send(served, "GET", "/v1/models", headers={"x-api-key": "no"})
    assert refused(reply, 429, "rate_limit_error")["code"] == "too_many_attempts"
    assert int(reply.headers["retry-after"]) >= 1
