"""What every reply has, and the endpoints that only tell."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from cowork.server.pacing import is_stream_path
from tests.contract.replies import JSON, Raw, is_moment, is_uuid, post_text, send
from tests.serving import Served, wait_for
from tests.upstream import Upstream

ENDPOINTS = {
    ("get", "/"),
    ("get", "/health"),
    ("get", "/sessions"),
    ("delete", "/sessions/{project_id}"),
    ("post", "/ask_question"),
    ("post", "/ask_question_streaming"),
    ("post", "/xo-auth/start"),
    ("get", "/xo-auth/status/{auth_session_id}"),
    ("post", "/xo-auth/consume"),
    ("get", "/xo-auth/whoami"),
    ("get", "/xo-auth/state"),
    ("post", "/xo-auth/logout"),
    ("get", "/outbox"),
    ("post", "/outbox/retry"),
}
WRONG_METHODS = [
    ("POST", "/", "GET"),
    ("POST", "/health", "GET"),
    ("PUT", "/sessions", "GET"),
    ("PUT", "/sessions/p", "DELETE"),
    ("GET", "/ask_question", "POST"),
    ("DELETE", "/ask_question_streaming", "POST"),
    ("GET", "/xo-auth/start", "POST"),
    ("POST", "/xo-auth/status/x", "GET"),
    ("GET", "/xo-auth/consume", "POST"),
    ("POST", "/xo-auth/whoami", "GET"),
    ("DELETE", "/xo-auth/state", "GET"),
    ("GET", "/xo-auth/logout", "POST"),
    ("POST", "/outbox", "GET"),
    ("GET", "/outbox/retry", "POST"),
]
WITH_BODY = ["/ask_question", "/ask_question_streaming", "/xo-auth/start", "/xo-auth/consume"]
OTHER_TYPES = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None]
LIMIT = 2048


def test_the_root_says_that_the_api_runs(served: Served) -> None:
    reply = served.get("/")
    assert reply.status_code == 200
    assert reply.json() == {"status": "XO Cowork API running"}


def test_health_has_every_key_in_its_type(serve: Callable[..., Served], upstream: Upstream) -> None:
    served = serve(CHAT_API_BASE_URL=f"{upstream.url}/")
    reply = served.get("/health")
    assert reply.status_code == 200
    health = reply.json()
    assert health["status"] == "healthy"
    assert is_moment(health["timestamp"])
    assert health["chat_api_url"] == upstream.url
    assert health["ai_provider"] == "claude"
    assert isinstance(health["claude_cli"], str)
    assert type(health["active_sessions"]) is int
    auth = {
        "authenticated": False,
        "user_id": None,
        "expires_at": None,
        "auth_session_id": None,
        "token_source": "none",
    }
    assert health["auth"].items() >= auth.items()


def test_health_counts_the_sessions(served: Served) -> None:
    assert served.get("/health").json()["active_sessions"] == 0
    served.ask("hi", "a")
    served.ask("hi", "a")
    served.ask("hi", "b")
    assert served.get("/health").json()["active_sessions"] == 2


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_liveness_and_readiness_are_endpoints_of_their_own(served: Served, path: str) -> None:
    wait_for(lambda: served.get(path).status_code == 200, what="the look at the CLI")
    assert isinstance(served.get(path).json(), dict)


def test_the_docs_are_a_page_whose_parts_this_server_has(served: Served) -> None:
    page = served.get("/docs")
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert parts
    for part in parts:
        assert part.startswith("/"), f"{part} is of another host"
        assert served.get(part).status_code == 200, part


def test_fault_s10_the_docs_page_works_under_a_policy_that_trusts_this_servers_files_alone(
    served: Served,
) -> None:
    """Tried in Chromium too: the page shows every endpoint, and nothing is refused."""
    page = served.get("/docs")
    policy = dict(
        part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert {policy[f"{kind}-src"] for kind in ("script", "style", "connect")} == {"'self'"}
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in str(policy)
    # What stands in the page itself would not run.
    assert (
        re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|javascript:", page.text) == []
    )
    for name in ("index.css", "oauth2-redirect.html"):
        assert "Content-Security-Policy" in served.get(f"/docs/assets/{name}").headers


def test_the_openapi_document_has_every_endpoint(served: Served) -> None:
    reply = served.get("/openapi.json")
    assert reply.status_code == 200
    document = reply.json()
    assert document["openapi"].startswith("3.1")
    described = {(verb, path) for path, verbs in document["paths"].items() for verb in verbs}
    assert described >= ENDPOINTS


def test_the_openapi_document_refers_only_to_what_it_holds(served: Served) -> None:
    document = served.get("/openapi.json").json()
    references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)))
    assert references
    for reference in references:
        found = document
        for part in reference.split("/"):
            found = found[part]


def test_the_openapi_document_tells_the_bounds_of_a_question(served: Served) -> None:
    asked = served.get("/openapi.json").json()["components"]["schemas"]["AskBody"]["properties"]
    longest = {name: told["maxLength"] for name, told in asked.items() if "maxLength" in told}
    assert longest == {
        "project_name": 200,
        "system_prompt": 100_000,
        **dict.fromkeys(("user_id", "message_type", "agent_type"), 1024),
        "model": 100,
    }
    most = {name: told["maxItems"] for name, told in asked.items() if "maxItems" in told}
    assert most == {"events": 7, "attachments": 20, "disallowed_tools": 50, "mcp_servers": 50}


def test_the_openapi_document_describes_errors_as_they_are(served: Served) -> None:
    document = served.get("/openapi.json").json()
    for name in ("/ask_question", "/sessions", "/xo-auth/consume"):
        for verb in document["paths"][name].values():
            for status, reply in verb["responses"].items():
                if status.startswith("2"):
                    continue
                schema = json.dumps(_resolved(document, reply))
                assert '"detail"' in schema, f"{name} {status}: {schema}"


def _resolved(document: dict, part: object, depth: int = 6) -> object:
    if isinstance(part, dict) and "$ref" in part and depth:
        found = document
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return _resolved(document, found, depth - 1)
    if isinstance(part, dict):
        return {name: _resolved(document, value, depth) for name, value in part.items()}
    if isinstance(part, list):
        return [_resolved(document, value, depth) for value in part]
    return part


def test_an_unknown_path_is_404_not_found(served: Served) -> None:
    for path in ("/nope", "/ask", "/health/nope", "/docs/nope", "/xo-auth"):
        reply = send(served, "GET", path)
        assert reply.status_code == 404, path
        assert reply.json() == {"detail": "Not Found"}


def test_a_wrong_method_is_405_and_says_which_are_right(served: Served) -> None:
    for method, path, allowed in WRONG_METHODS:
        reply = served.http.request(method, served.url + path, json={}, timeout=10)
        assert reply.status_code == 405, (method, path)
        assert reply.json() == {"detail": "Method Not Allowed"}
        assert allowed in [verb.strip() for verb in reply.headers["Allow"].split(",")]


@pytest.mark.parametrize("path", WITH_BODY)
def test_a_body_that_is_not_json_is_415(served: Served, path: str) -> None:
    for kind in OTHER_TYPES:
        headers = {} if kind is None else {"Content-Type": kind}
        reply = send(served, "POST", path, b'{"project_name": "p", "question": "q"}', headers)
        assert reply.status_code == 415, (kind, reply.text)
        assert list(reply.json()) == ["detail"]
    assert served.get("/sessions").json()["count"] == 0


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
def test_json_with_and_without_a_charset_is_json(served: Served, kind: str) -> None:
    body = '{"project_name": "p", "question": "hallo Jörg"}'.encode()
    reply = send(served, "POST", "/ask_question", body, {"Content-Type": kind})
    assert reply.json()["message"] == "You said: hallo Jörg"


def test_only_a_request_with_a_body_needs_a_content_type(served: Served) -> None:
    assert send(served, "POST", "/xo-auth/logout").status_code == 200
    for path in WITH_BODY:
        assert send(served, "POST", path).status_code != 415, path


def _of_size(size: int) -> bytes:
    empty = json.dumps({"project_name": "p", "question": "q", "filler": ""})
    return empty.replace('""', f'"{"x" * (size - len(empty))}"').encode()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", WITH_BODY[:2])
def test_a_body_may_be_as_large_as_the_limit_and_no_larger(
    serve: Callable[..., Served], path: str, *, chunked: bool
) -> None:
    served = serve(COWORK_MAX_BODY=str(LIMIT))
    fits = send(served, "POST", path, _of_size(LIMIT), JSON, chunked=chunked)
    assert fits.status_code == 200, fits.text
    for size in (LIMIT + 1, 8 * LIMIT):
        _is_too_large(send(served, "POST", path, _of_size(size), JSON, chunked=chunked))
    assert served.ask("hi").status_code == 200


def test_a_body_that_is_declared_too_large_is_refused_before_it_comes(
    serve: Callable[..., Served],
) -> None:
    served = serve(COWORK_MAX_BODY=str(LIMIT))
    headers = {**JSON, "Content-Length": str(10**12)}
    _is_too_large(send(served, "POST", "/ask_question", None, headers))


def _is_too_large(reply: Raw) -> None:
    assert reply.status_code == 413, reply.text
    assert list(reply.json()) == ["detail"]
    assert reply.headers["x-request-id"]


def test_every_reply_has_a_request_id_of_its_own(served: Served) -> None:
    replies = [
        served.get("/"),
        served.get("/health"),
        served.get("/health/live"),
        served.get("/docs"),
        served.get("/openapi.json"),
        served.get("/nope"),
        served.get("/ask_question"),
        served.get("/xo-auth/whoami"),
        served.post("/ask_question", {}),
        served.post("/ask_question", [1]),
        served.ask("hi"),
        served.ask("[[fail 500]]"),
        post_text(served, "/ask_question", "{"),
        send(served, "POST", "/ask_question", b"x", {"Content-Type": "text/plain"}),
        send(served, "GET", "/", None, {"Host": "evil.example"}),
        send(served, "OPTIONS", "/ask_question"),
    ]
    with served.stream("hi") as streamed:
        replies.append(streamed)
    names = [{name.lower(): value for name, value in reply.headers.items()} for reply in replies]
    assert all(headers.get("x-request-id") for headers in names), names
    assert len({headers["x-request-id"] for headers in names}) == len(replies)


def test_a_sane_request_id_comes_back(served: Served) -> None:
    given = "0b6a6a0e-6f0c-4b43-8b43-2d6f3f1f3b11"
    for path in ("/health", "/nope"):
        assert served.get(path, headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


def test_an_odd_request_id_is_replaced(served: Served) -> None:
    for given in ("x" * 1000, "<b>", "a b", "ü", ""):
        reply = send(served, "GET", "/health", None, {"X-Request-ID": given})
        assert reply.status_code == 200
        assert reply.headers["x-request-id"] not in {given, ""}


def test_a_turn_has_an_id_among_the_headers(served: Served) -> None:
    assert is_uuid(served.ask("hi").headers["X-Turn-ID"])


def test_the_server_knows_which_paths_are_answered_by_a_stream(served: Served) -> None:
    document = served.get("/openapi.json").json()
    streams = [
        path
        for path, operations in document["paths"].items()
        for verb in operations.values()
        if isinstance(verb, dict)
        and "text/event-stream" in verb["responses"].get("200", {}).get("content", {})
    ]
    assert len(streams) > 2
    assert all(map(is_stream_path, streams))
    assert not [*filter(is_stream_path, document["paths"].keys() - set(streams))]
