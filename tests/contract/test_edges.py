"""What stands around a request: its encoding, preflights, what needs no key, who is refused."""

from __future__ import annotations

import codecs
import gzip
import json
import re
from collections.abc import Callable

import pytest

from cowork.web import guard
from cowork.web.response_headers import EXPOSED
from tests.contract.replies import ASK_PATHS, invalid, problem, send
from tests.serving import ROOT, Served, wait_for

PAGE = "https://app.example"
BODY = json.dumps({"project_name": "p", "question": "héllo"}, ensure_ascii=False)
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("path", ASK_PATHS)
def test_fault_w6_a_byte_order_mark_is_passed_over(served: Served, path: str) -> None:
    reply = served.http.post(
        served.url + path, data=codecs.BOM_UTF8 + BODY.encode(), headers=JSON, timeout=9
    )
    assert reply.status_code == 200, reply.text
    assert "héllo" in reply.content.decode()


def test_fault_w6_a_mark_and_nothing_else_is_no_body_with_a_question(served: Served) -> None:
    reply = served.http.post(
        f"{served.url}/ask_question", data=codecs.BOM_UTF8, headers=JSON, timeout=9
    )
    assert reply.status_code == 422


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "latin-1", "cp1252"]
)
def test_fault_w6_another_encoding_is_told_so(served: Served, encoding: str) -> None:
    reply = served.http.post(
        f"{served.url}/ask_question", data=BODY.encode(encoding), headers=JSON, timeout=9
    )
    (fault,) = reply.json()["detail"]
    assert (reply.status_code, fault["msg"]) == (422, "the body is not UTF-8")
    assert fault["loc"][0] == "body"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be", "gb18030"])
def test_fault_w6_a_long_body_in_another_encoding_is_told_so_too(
    served: Served, encoding: str
) -> None:
    # Both of its bytes in UTF-16 are quotation marks.
    body = json.dumps({"project_name": "p", "question": "\u2222" * 300_000}, ensure_ascii=False)
    reply = served.http.post(
        f"{served.url}/ask_question", data=body.encode(encoding), headers=JSON, timeout=20
    )
    assert (reply.status_code, reply.json()["detail"][0]["msg"]) == (422, "the body is not UTF-8")


def test_fault_w6_text_that_is_no_json_is_told_so(served: Served) -> None:
    reply = served.http.post(
        f"{served.url}/ask_question", data="{é".encode(), headers=JSON, timeout=9
    )
    invalid(reply, "body")
    assert "UTF-8" not in reply.text


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "gzip, identity", "x"])
@pytest.mark.parametrize("path", [*ASK_PATHS, "/xo-auth/consume", "/sessions/p/warm"])
def test_fault_w6_a_compressed_body_is_refused_with_what_would_do(
    served: Served, path: str, coding: str
) -> None:
    headers = {**JSON, "Content-Encoding": coding}
    data = gzip.compress(BODY.encode())
    reply = served.http.post(served.url + path, data=data, headers=headers, timeout=9)
    problem(reply, 415, "unsupported_media_type")
    assert reply.headers["Accept-Encoding"] == "identity"
    assert "Content-Encoding" in reply.text


def test_fault_w6_identity_is_no_coding(served: Served) -> None:
    headers = {**JSON, "Content-Encoding": "Identity"}
    reply = served.http.post(
        f"{served.url}/ask_question", data=BODY.encode(), headers=headers, timeout=9
    )
    assert reply.status_code == 200


@pytest.fixture
def paged(serve: Callable[..., Served]) -> Served:
    return serve(COWORK_ALLOWED_ORIGINS=PAGE)


SDK = "x-request-id, x-stainless-os, X-Stainless-Retry-Count, content-type, anthropic-version"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/ask_question", {"POST"}),
        ("/sessions", {"GET"}),
        ("/sessions/a%2Fb", {"GET", "PATCH", "DELETE"}),
        ("/turns/x/events", {"GET"}),
        ("/turns/x/ticket", {"POST"}),
    ],
)
def test_fault_w7_a_preflight_is_told_the_routes_methods_and_the_headers_it_asked_for(
    paged: Served, path: str, methods: set[str]
) -> None:
    asks = {
        "Origin": PAGE,
        "Access-Control-Request-Method": next(iter(methods)),
        "Access-Control-Request-Headers": SDK,
    }
    reply = paged.http.options(paged.url + path, headers=asks, timeout=9)
    assert reply.status_code == 204
    assert set(reply.headers["Access-Control-Allow-Methods"].split(", ")) == methods
    assert reply.headers["Access-Control-Allow-Headers"] == SDK
    assert reply.headers["Access-Control-Allow-Origin"] == PAGE


def test_fault_w7_what_is_no_header_name_is_not_echoed(paged: Served) -> None:
    names = ", ".join(f"x-{number}" for number in range(99))
    asks = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": f'a b, x;y, "q", {"z" * 200}, x-ok, {names}',
    }
    reply = paged.http.options(f"{paged.url}/ask_question", headers=asks, timeout=9)
    told = reply.headers["Access-Control-Allow-Headers"].split(", ")
    assert told == ["x-ok", *(f"x-{number}" for number in range(63))]
    nowhere = paged.http.options(f"{paged.url}/nope", headers=asks, timeout=9)
    assert nowhere.status_code == 204
    assert "Access-Control-Allow-Methods" not in nowhere.headers


def test_fault_w7_a_page_may_read_all_of_our_own_headers(paged: Served) -> None:
    body = {"project_name": "p", "question": "hi"}
    for _ in range(2):
        reply = paged.post("/ask_question", body, headers={"Origin": PAGE, "Idempotency-Key": "k"})
    exposed = reply.headers["Access-Control-Expose-Headers"].split(", ")
    ours = {name for name in reply.headers if name.startswith("X-") or "Idempotent" in name}
    assert {"X-Request-ID", "X-Turn-ID", "Idempotent-Replayed"} <= ours
    assert ours - {"X-Content-Type-Options"} <= set(exposed)
    assert "Retry-After" in exposed


# What a browser acts upon itself, and HTTP's own: no page has a use for them.
_FOR_BROWSERS = re.compile(
    "Access-Control-.*|Cache-Control|Content-Security-Policy|Cross-Origin-Opener-Policy"
    "|Referrer-Policy|WWW-Authenticate|X-Content-Type-Options|X-DNS-Prefetch-Control"
    "|X-Frame-Options"
)


def test_fault_w7_every_header_that_a_reply_is_given_is_exposed_or_the_browsers_own() -> None:
    sources = [ROOT / "cowork" / "app.py", *(ROOT / "cowork" / "web").rglob("*.py")]
    given = {
        name
        for source in sources
        for name in re.findall(r"reply\.headers(?:\.setdefault\(|\[)\"([\w-]+)", source.read_text())
    }
    assert {name for name in given if not _FOR_BROWSERS.fullmatch(name)} == {*EXPOSED}


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/json,*/*"])
def test_fault_w11_the_root_varies_by_what_is_accepted(served: Served, accept: str | None) -> None:
    reply = send(served, "GET", "/", None, {} if accept is None else {"Accept": accept})
    assert reply.headers["vary"] == "Accept"
    assert reply.json() == {"status": "XO Cowork API running"}


@pytest.mark.parametrize("accept", ["text/html", "text/html,*/*;q=0.8"])
def test_fault_w11_a_browser_gets_the_page_at_the_root(served: Served, accept: str) -> None:
    reply = send(served, "GET", "/", None, {"Accept": accept})
    assert reply.headers["vary"] == "Accept"
    assert reply.headers["content-type"].startswith("text/html")


def test_fault_n5_it_is_not_ready_before_it_is_known(served: Served) -> None:
    readiness = served.services.readiness
    unknown = type(served.services.cli.state())()
    served.services.cli.__dict__["state"] = lambda: unknown
    assert "the Claude CLI is still being looked at" in readiness.reasons()
    assert served.get("/health/ready").status_code == 503
    del served.services.cli.__dict__["state"]
    wait_for(lambda: served.get("/health/ready").status_code == 200, what="readiness")


def test_fault_n2_a_refused_page_is_logged_once(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        assert served.get("/sessions", headers={"Origin": "http://localhost:1"}).status_code == 403
        assert served.get("/sessions", headers={"Host": "box.example"}).status_code == 403
    for number in range(2 * guard.MAX_LOGGED_SOURCES):
        served.get("/sessions", headers={"Origin": f"http://{number}.example"})
    said = "".join(capsys.readouterr())
    assert said.count("refused a Host or Origin") == guard.MAX_LOGGED_SOURCES
    assert len(re.findall(r"COWORK_ALLOWED_ORIGINS +value=http://localhost:1\n", said)) == 1
    assert len(re.findall(r"COWORK_ALLOWED_HOSTS +value=box.example\n", said)) == 1
