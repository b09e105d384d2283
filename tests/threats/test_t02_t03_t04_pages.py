"""T2, T3, T4: what a web page in the operator's browser can make that browser send."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.attack.tables import HOSTS, ORIGINS
from tests.contract.replies import problem, send
from tests.serving import Served
from tests.threats.wire import tell

ORIGIN = "https://app.example"
POSTS = [
    "/ask_question",
    "/ask_question_streaming",
    "/xo-auth/start",
    "/xo-auth/consume",
    "/xo-auth/logout",
    "/sessions/p/interrupt",
    "/sessions/p/warm",
    "/turns/x/interrupt",
    "/outbox/retry",
]
# What a form or a page can send without asking first.
SIMPLE = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
ASK = b'{"project_name": "p", "question": "hi"}'


@pytest.fixture
def named(serve: Callable[..., Served]) -> Served:
    """A server with a name and a page of its own, for which no key is needed."""
    return serve(COWORK_ALLOWED_HOSTS="cowork.example", COWORK_ALLOWED_ORIGINS=ORIGIN)


def test_t02_a_body_that_a_form_can_send_is_refused_everywhere(served: Served) -> None:
    for path in POSTS:
        for kind in SIMPLE:
            for chunked in (False, True):
                headers = {"Content-Type": kind} if kind else {}
                reply = send(served, "POST", path, ASK, headers, chunked=chunked)
                problem(reply, 415, "unsupported_media_type")
                assert "set-cookie" not in reply.headers
    assert served.get("/sessions").json()["count"] == 0


def test_t02_a_page_of_another_site_is_refused_whatever_it_sends(served: Served) -> None:
    for path in (*POSTS, "/sessions", "/docs", "/nope", "/openapi.json", "/docs/assets/index.css"):
        for method in ("GET", "POST", "OPTIONS"):
            for header in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
                reply = send(served, method, path, None, header)
                problem(reply, 403, "forbidden")
                assert not [name for name in reply.headers if name.startswith("access-control")]


LINK = {
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}


def test_t02_a_link_of_another_site_leads_to_the_consoles_page_and_to_nothing_else(
    served: Served,
) -> None:
    shell = ("/", "/console/app.js", "/console/vendor/purify.min.js", "/client.js", "/client.d.ts")
    for path in shell:
        reply = send(served, "GET", path, None, {"Accept": "text/html", **LINK})
        assert reply.status_code == 200, path
        # A window that it was opened in is out of the other page's hands.
        has = "cross-origin-opener-policy" in reply.headers
        assert has is (path == "/")
    for path in (*POSTS, "/sessions", "/health", "/docs", "/openapi.json", "/nope", "/turns/x"):
        problem(send(served, "GET", path, None, LINK), 403, "forbidden")
    for path in shell:
        for method, changed in (
            ("POST", {}),
            ("OPTIONS", {}),
            ("HEAD", {}),
            ("GET", {"Sec-Fetch-Dest": "iframe"}),
            ("GET", {"Sec-Fetch-Dest": "script"}),
            ("GET", {"Sec-Fetch-Mode": "no-cors"}),
            ("GET", {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}),
            ("GET", {"Origin": "https://evil.example"}),
            ("GET", {"Host": "evil.example"}),
        ):
            reply = send(served, method, path, None, {**LINK, **changed})
            assert reply.status_code == 403, (path, method, changed)


def test_t02_nothing_that_changes_something_can_be_asked_by_get(served: Served) -> None:
    for path in POSTS:
        for method in ("GET", "HEAD"):
            assert send(served, method, path).status_code in {404, 405}, path


def test_t03_a_rebound_name_gets_in_nowhere(named: Served) -> None:
    port = named.url.rpartition(":")[2]
    assert len(HOSTS) >= 20
    for host, right in HOSTS:
        for path in ("/sessions", "/nope", "/docs/assets/index.css"):
            reply = send(named, "GET", path, None, {"Host": host.replace("PORT", port)})
            # Some names are none at all: the server below us refuses those itself.
            assert (reply.status_code not in {400, 403}) is right, (host, path, reply.status_code)


def test_t03_the_name_in_the_target_counts_too(named: Served) -> None:
    for target, served in (("http://cowork.example/sessions", 200), ("http://evil/sessions", 403)):
        said = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert tell(named, said.encode()).status == served
    said = "GET /sessions HTTP/1.1\r\nConnection: close\r\n\r\n"
    assert tell(named, said.encode()).status == 403


def test_t04_only_a_named_page_is_told_that_it_may_read(named: Served) -> None:
    port = named.url.rpartition(":")[2]
    assert len(ORIGINS) >= 20
    asks = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
        "Access-Control-Request-Private-Network": "true",
    }
    for origin, right in ORIGINS:
        said = {} if origin is None else {"Origin": origin.replace("PORT", port)}
        for method, more in (("GET", {}), ("OPTIONS", asks)):
            reply = send(
                named, method, "/sessions", None, {"Host": f"localhost:{port}", **said, **more}
            )
            assert (reply.status_code != 403) is right, (origin, method)
            told = {
                name: value for name, value in reply.headers.items() if name.startswith("access-")
            }
            if origin is not None and origin.lower() == ORIGIN:
                assert told["access-control-allow-origin"] == origin
                assert "origin" in reply.headers["vary"].lower()
            else:
                assert told == {}, origin
            assert "access-control-allow-credentials" not in told


def test_t04_a_named_page_reads_its_errors_too(named: Served) -> None:
    for method, path, status in (
        ("GET", "/nope", 404),
        ("PUT", "/sessions", 405),
        ("POST", "/ask_question", 422),
    ):
        reply = send(named, method, path, None, {"Origin": ORIGIN})
        assert reply.status_code == status
        assert reply.headers["access-control-allow-origin"] == ORIGIN
