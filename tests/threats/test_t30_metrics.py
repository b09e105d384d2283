"""T30: figures are read by whom they are for, and tell of nobody's work."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.replies import problem, send
from tests.serving import Served

ADMIN, SCRAPER, OTHER = "a" * 40, "s" * 40, "o" * 40
SETTINGS = {
    "COWORK_API_KEYS": f"admin={ADMIN},scraper={SCRAPER},other={OTHER}",
    "COWORK_ADMIN_KEYS": "admin",
    "COWORK_METRICS_KEYS": "scraper",
}
# Each makes the caller one that is not on this machine, or is a page of another site.
ELSEWHERE = [
    {"X-Forwarded-For": "203.0.113.9"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"Forwarded": "for=127.0.0.1"},
    {"X-Real-IP": "127.0.0.1"},
    {"Via": "1.1 proxy"},
    {"Host": "cowork.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
]
PROXIED = {"X-Forwarded-For": "203.0.113.9"}


@pytest.fixture
def keyed(serve: Callable[..., Served]) -> Served:
    return serve(**SETTINGS)


def test_t30_a_caller_on_this_machine_needs_no_key(
    keyed: Served, serve: Callable[..., Served]
) -> None:
    for server in (keyed, serve()):
        for method in ("GET", "HEAD"):
            assert send(server, method, "/metrics").status_code == 200


@pytest.mark.parametrize("headers", ELSEWHERE, ids=str)
def test_t30_nobody_else_reads_without_a_key(keyed: Served, headers: dict[str, str]) -> None:
    reply = send(keyed, "GET", "/metrics", None, headers)
    assert reply.status_code in {401, 403}
    assert "cowork_" not in reply.text


@pytest.mark.parametrize("headers", ELSEWHERE, ids=str)
def test_t30_without_keys_nobody_else_reads_at_all(
    serve: Callable[..., Served], headers: dict[str, str]
) -> None:
    reply = send(serve(), "GET", "/metrics", None, headers)
    assert reply.status_code in {401, 403}
    assert "cowork_" not in reply.text


def test_t30_a_key_reads_only_where_it_may(keyed: Served) -> None:
    for key, status in ((ADMIN, 200), (SCRAPER, 200)):
        reply = send(keyed, "GET", "/metrics", None, {**PROXIED, "X-API-Key": key})
        assert reply.status_code == status, key
    other = send(keyed, "GET", "/metrics", None, {**PROXIED, "X-API-Key": OTHER})
    problem(other, 403, "forbidden")
    problem(
        send(keyed, "GET", "/metrics", None, {**PROXIED, "X-API-Key": "x" * 40}),
        401,
        "unauthorized",
    )
    # The right to read figures is a right to nothing else.
    for path in ("/workers",):
        reply = send(keyed, "GET", path, None, {"X-API-Key": SCRAPER})
        problem(reply, 403, "forbidden")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_t30_this_machine_is_let_through_to_read_and_for_nothing_else(
    keyed: Served, method: str
) -> None:
    problem(send(keyed, method, "/metrics"), 401, "unauthorized")


def test_t30_paths_that_look_like_it_are_no_way_in(keyed: Served) -> None:
    for path in ("/metrics/", "/metrics/x", "/Metrics", "/metrics%2F..%2Fsessions"):
        assert send(keyed, "GET", path).status_code == 401, path


def test_t30_no_figure_tells_of_a_project_or_of_what_was_said(keyed: Served) -> None:
    headers = {"X-API-Key": OTHER, "Content-Type": "application/json"}
    body = (
        b'{"project_name": "canary-project", "question": "canary-question", "user_id": "canary-u"}'
    )
    assert send(keyed, "POST", "/ask_question", body, headers).status_code == 200
    text = send(keyed, "GET", "/metrics").text
    assert 'key="other"' in text
    assert "canary" not in text
    for key in (ADMIN, SCRAPER, OTHER):
        assert key not in text
