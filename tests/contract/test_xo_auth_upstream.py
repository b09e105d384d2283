"""`/xo-auth/*` when the upstream refuses, fails, sends false replies or redirects."""

from __future__ import annotations

import json
from collections.abc import Callable

import requests

from tests.bad_upstream import LYING_GRANTS, LYING_LINKS, LYING_NAMES, NOT_AN_OBJECT
from tests.contract.replies import problem
from tests.serving import Served
from tests.upstream import (
    ACCESS_TOKEN,
    CONSUME_REPLY,
    Upstream,
    breaks_off,
    drops_reply,
    fails,
    garbage,
    ok,
    redirects,
    says,
)

START, CONSUME, WHOAMI = "/auth/browser/start", "/auth/browser/consume", "/get-user-id"
NAMES = {"auth_session_id": "session-1", "poll_token": "poll-token-123"}
OPERATORS = "operators-static-token-0123456789"
REFRESH = str(CONSUME_REPLY["refresh_token"])
Connect = Callable[..., Served]
Call = tuple[str, str, object]


def _calls(served: Served) -> dict[str, Call]:
    """Every call that goes upstream: its path there, and what asks for it here."""
    served.post("/xo-auth/consume", NAMES)
    return {
        START: ("POST", "/xo-auth/start", {}),
        "/auth/browser/status/s-1": ("GET", "/xo-auth/status/s-1?poll_token=t", None),
        CONSUME: ("POST", "/xo-auth/consume", NAMES),
        WHOAMI: ("GET", "/xo-auth/whoami", None),
    }


def _call(served: Served, call: Call) -> requests.Response:
    method, path, body = call
    return served.http.request(method, served.url + path, json=body, timeout=20)


def test_an_upstream_4xx_keeps_its_status_and_its_body(
    connect: Connect, upstream: Upstream
) -> None:
    served = connect()
    for path, call in _calls(served).items():
        for status in (400, 401, 403, 404, 409, 410, 422, 429):
            upstream.on(path, says(status, '{"detail": "poll token expired"}'))
            reply = _call(served, call)
            detail = problem(reply, status, reply.json()["detail"]["code"])
            assert "poll token expired" in json.dumps(detail["upstream"]), (path, status)


def test_an_upstreams_body_is_cut(connect: Connect, upstream: Upstream) -> None:
    upstream.always(says(403, "ü" * 100_000))
    reply = connect().post("/xo-auth/start", {})
    assert reply.status_code == 403
    assert 1000 < len(str(reply.json()["detail"]["upstream"]).encode()) < 2100


BAD = [
    *(fails(status) for status in (500, 502, 503)),
    garbage,
    drops_reply,
    breaks_off,
    *(says(200, text) for text in ("", "<html>", "null", "[1", "5")),
]


def test_an_upstream_that_fails_or_raves_is_502(connect: Connect, upstream: Upstream) -> None:
    served = connect()
    for path, call in _calls(served).items():
        for behaviour in BAD:
            upstream.on(path, behaviour)
            problem(_call(served, call), 502, "bad_upstream")


def test_an_upstream_without_a_token_or_a_user_is_502(connect: Connect, upstream: Upstream) -> None:
    served = connect()
    for body in ({}, {"access_token": ""}, {"access_token": 5}, {"access_token": None}, []):
        upstream.on(CONSUME, ok(body) if body else says(200, json.dumps(body)))
        problem(served.post("/xo-auth/consume", NAMES), 502, "bad_upstream")
        assert served.get("/xo-auth/state").json()["authenticated"] is False
    upstream.on(CONSUME, ok(CONSUME_REPLY))
    served.post("/xo-auth/consume", NAMES)
    upstream.on(WHOAMI, ok({"name": "nobody"}))
    problem(served.get("/xo-auth/whoami"), 502, "bad_upstream")


def test_t21_no_lie_of_an_upstream_changes_what_is_held(
    connect: Connect, upstream: Upstream
) -> None:
    served = connect(COWORK_XO_REFRESH_PATH="/auth/refresh")
    calls = _calls(served)
    held, token = served.get("/xo-auth/state").json(), served.services.store.token()
    users = {ascii(name): json.dumps({"user_id": name}) for name in LYING_NAMES}
    users |= {secret: json.dumps({"user_id": secret}) for secret in (ACCESS_TOKEN, REFRESH)}
    links = {ascii(link): json.dumps({"authorize_url": link}) for link in LYING_LINKS if link}
    lies = {CONSUME: NOT_AN_OBJECT | LYING_GRANTS, WHOAMI: NOT_AN_OBJECT | users, START: links}
    for path, bodies in lies.items():
        for name, body in bodies.items():
            upstream.on(path, says(200, body))
            detail = problem(_call(served, calls[path]), 502, "bad_upstream")
            assert ACCESS_TOKEN not in str(detail), name
            assert REFRESH not in str(detail), name
            assert served.services.store.token() == token, name
    assert served.get("/xo-auth/state").json() == held


def test_a_redirect_is_502_and_not_followed(connect: Connect, upstream: Upstream) -> None:
    served = connect()
    calls = _calls(served)
    with Upstream() as elsewhere:
        for path, call in calls.items():
            for status in (301, 302, 303, 307, 308):
                upstream.on(path, redirects(f"{elsewhere.url}{path}", status))
                problem(_call(served, call), 502, "bad_upstream")
        assert elsewhere.seen == []


def test_an_upstream_that_is_not_there_is_502_or_504(serve: Callable[..., Served]) -> None:
    served = serve(CHAT_API_BASE_URL="http://127.0.0.1:9")
    reply = served.post("/xo-auth/start", {})
    assert reply.status_code in {502, 504}
    assert reply.json()["detail"]["code"] in {"bad_upstream", "upstream_timeout"}
    assert served.get("/health").status_code == 200


def test_no_reply_shows_the_token(connect: Connect, upstream: Upstream) -> None:
    served = connect(CHAT_API_TOKEN=OPERATORS)
    replies = [served.post("/xo-auth/consume", NAMES)]
    for path in ("/xo-auth/state", "/health", "/health/ready", "/xo-auth/whoami", "/sessions", "/"):
        replies += [served.get(path)]
    for answer in (says(403, ACCESS_TOKEN), says(500, ACCESS_TOKEN), says(200, ACCESS_TOKEN)):
        upstream.on(WHOAMI, answer)
        replies.append(served.get("/xo-auth/whoami"))
    replies += [served.ask("[[env]]"), served.post("/xo-auth/logout")]
    for reply in replies:
        for secret in (ACCESS_TOKEN, REFRESH, OPERATORS):
            assert secret not in reply.text, (reply.url, reply.text)
            assert secret not in str(reply.headers)
