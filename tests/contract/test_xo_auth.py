"""`/xo-auth/*`: the browser login of the Chat API, passed on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from tests.contract.replies import invalid, is_moment, problem, send
from tests.serving import Served, wait_for
from tests.upstream import (
    ACCESS_TOKEN,
    ADD_MESSAGE,
    CONSUME_REPLY,
    START_REPLY,
    Upstream,
    fails,
    hangs,
    ok,
    says,
)

START, CONSUME, WHOAMI = "/auth/browser/start", "/auth/browser/consume", "/get-user-id"
NAMES = {"auth_session_id": "session-1", "poll_token": "poll-token-123"}
OPERATORS = "operators-static-token-0123456789"
REFRESH = str(CONSUME_REPLY["refresh_token"])
NOTHING = {
    "authenticated": False,
    "user_id": None,
    "expires_at": None,
    "auth_session_id": None,
    "token_source": "none",
}
Connect = Callable[..., Served]


def test_start_passes_the_upstreams_reply_on(connect: Connect, upstream: Upstream) -> None:
    served = connect()
    reply = served.post("/xo-auth/start", {"client_reference": "demo", "scopes": ["chat"]})
    assert reply.status_code == 200
    assert reply.json() == START_REPLY
    (seen,) = upstream.at(START)
    assert seen.method == "POST"
    assert seen.json == {"scopes": ["chat"], "client_reference": "demo"}


def test_start_needs_nothing(connect: Connect, upstream: Upstream) -> None:
    assert connect().post("/xo-auth/start", {}).json() == START_REPLY
    (seen,) = upstream.at(START)
    assert seen.json.keys() <= {"scopes", "client_reference"}
    assert not any(seen.json.values())


@pytest.mark.parametrize("status", [200, 201])
def test_the_upstreams_json_is_passed_as_it_is(
    connect: Connect, upstream: Upstream, status: int
) -> None:
    odd = {"b": 1, "a": [None, True, {"ü": "😀"}], "big": 2**60, "x": 1.5}
    upstream.always(says(status, json.dumps(odd)))
    served = connect()
    for reply in (
        served.post("/xo-auth/start", {}),
        served.get("/xo-auth/status/s", params={"poll_token": "t"}),
    ):
        assert reply.status_code == 200
        assert reply.json() == odd


def test_status_asks_for_one_session(connect: Connect, upstream: Upstream) -> None:
    served = connect()
    target = "/xo-auth/status/a%2Fb%20c%3Fd?poll_token=p%20%26q"
    reply = send(served, "GET", target)
    assert reply.status_code == 200
    assert reply.json() == {"status": "authorized"}
    (seen,) = upstream.seen
    assert seen.method == "GET"
    assert seen.path == "/auth/browser/status/a%2Fb%20c%3Fd"
    assert seen.target.partition("?")[2] in {"poll_token=p%20%26q", "poll_token=p+%26q"}


def test_status_needs_a_poll_token(connect: Connect, upstream: Upstream) -> None:
    invalid(connect().get("/xo-auth/status/s-1"), "query", "poll_token")
    assert upstream.seen == []


def test_consume_stores_the_token(connect: Connect, upstream: Upstream) -> None:
    served = connect()
    assert served.get("/xo-auth/state").json().items() >= NOTHING.items()
    reply = served.post("/xo-auth/consume", NAMES)
    assert reply.status_code == 200
    expected = {
        "success": True,
        "message": "Authentication completed and token stored",
        "user_id": "user-1",
        "expires_in": 3600,
        "scope": "chat",
    }
    assert reply.json().items() >= expected.items()
    (seen,) = upstream.at(CONSUME)
    assert seen.json == NAMES
    state = served.get("/xo-auth/state").json()
    assert state["authenticated"] is True
    assert state["user_id"] == "user-1"
    assert is_moment(state["expires_at"])
    assert state["auth_session_id"] == "session-1"
    assert state["token_source"] == "dynamic_or_env"
    assert served.get("/health").json()["auth"] == state


def test_an_access_token_is_enough(connect: Connect, upstream: Upstream) -> None:
    upstream.on(CONSUME, ok({"access_token": ACCESS_TOKEN}))
    served = connect()
    reply = served.post("/xo-auth/consume", NAMES).json()
    assert reply["success"] is True
    assert [reply[name] for name in ("user_id", "expires_in", "scope")] == [None, None, None]
    state = served.get("/xo-auth/state").json()
    assert state["authenticated"] is True
    assert state["expires_at"] is None


def test_a_blank_poll_token_falls_back_on_its_own(connect: Connect, upstream: Upstream) -> None:
    served = connect(XO_POLL_TOKEN="from-env")
    for blank in ({}, {"poll_token": None}, {"poll_token": "  \n"}):
        body = {"auth_session_id": "  s-1\n", **blank}
        assert served.post("/xo-auth/consume", body).status_code == 200
        expected = {"auth_session_id": "s-1", "poll_token": "from-env"}
        assert upstream.at(CONSUME)[-1].json == expected


def test_a_blank_session_falls_back_on_its_own(connect: Connect, upstream: Upstream) -> None:
    served = connect(XO_AUTH_SESSION_ID="from-env")
    for body in ({}, {"auth_session_id": ""}, {"auth_session_id": "\t"}):
        assert served.post("/xo-auth/consume", {**body, "poll_token": " t "}).status_code == 200
        assert upstream.at(CONSUME)[-1].json == {"auth_session_id": "from-env", "poll_token": "t"}


def test_the_body_goes_before_the_environment(connect: Connect, upstream: Upstream) -> None:
    served = connect(XO_AUTH_SESSION_ID="env-s", XO_POLL_TOKEN="env-t")
    assert served.post("/xo-auth/consume", NAMES).status_code == 200
    assert upstream.at(CONSUME)[-1].json == NAMES


def test_consume_without_names_is_400(connect: Connect, upstream: Upstream) -> None:
    for environ in ({}, {"XO_POLL_TOKEN": "t"}, {"XO_AUTH_SESSION_ID": "s"}):
        served = connect(**environ)
        for body in ({}, {"auth_session_id": " ", "poll_token": ""}):
            problem(served.post("/xo-auth/consume", body), 400, "missing_auth_session")
    problem(connect().post("/xo-auth/consume", {"poll_token": "t"}), 400, "missing_auth_session")
    assert upstream.seen == []


def test_both_variables_log_in_at_the_start(connect: Connect, upstream: Upstream) -> None:
    served = connect(XO_AUTH_SESSION_ID="env-s", XO_POLL_TOKEN="env-t")
    wait_for(lambda: served.get("/xo-auth/state").json()["authenticated"], what="the login")
    (seen,) = upstream.at(CONSUME)
    assert seen.json == {"auth_session_id": "env-s", "poll_token": "env-t"}


def test_a_failed_login_at_the_start_stops_nothing(connect: Connect, upstream: Upstream) -> None:
    upstream.on(CONSUME, fails(500))
    served = connect(XO_AUTH_SESSION_ID="env-s", XO_POLL_TOKEN="env-t")
    wait_for(lambda: upstream.at(CONSUME), what="the login")
    assert served.ask("hi").status_code == 200
    assert served.get("/xo-auth/state").json()["authenticated"] is False


def test_a_login_at_the_start_that_hangs_holds_up_neither_the_start_nor_the_end(
    connect: Connect, upstream: Upstream
) -> None:
    upstream.always(hangs)
    begun = time.monotonic()
    served = connect(XO_AUTH_SESSION_ID="env-session", XO_POLL_TOKEN="env-poll")
    wait_for(lambda: upstream.seen)
    assert served.get("/xo-auth/state").json()["authenticated"] is False
    assert served.ask("hi").status_code == 200
    served.close()
    assert time.monotonic() - begun < 15  # a call upstream may take 30


def test_wrong_types_are_422(connect: Connect, upstream: Upstream) -> None:
    served = connect()
    for field in NAMES:
        for value in (5, [], {}, True):
            invalid(served.post("/xo-auth/consume", {**NAMES, field: value}), "body", field)
    for path in ("/xo-auth/consume", "/xo-auth/start"):
        for body in ([], "text", 5):
            invalid(served.post(path, body), "body")
    assert upstream.seen == []


def test_whoami_needs_a_token_and_remembers_the_user(connect: Connect, upstream: Upstream) -> None:
    served = connect()
    reply = served.get("/xo-auth/whoami")
    assert reply.status_code == 401
    problem(reply, 401, reply.json()["detail"]["code"])
    assert upstream.seen == []
    served.post("/xo-auth/consume", NAMES)
    upstream.on(WHOAMI, ok({"user_id": "user-7", "mail": "x@example.org"}))
    reply = served.get("/xo-auth/whoami")
    assert reply.status_code == 200
    assert reply.json().items() >= {"success": True, "user_id": "user-7"}.items()
    assert served.get("/xo-auth/state").json()["user_id"] == "user-7"


def test_the_token_is_used_from_then_on(connect: Connect, upstream: Upstream) -> None:
    served = connect(CHAT_API_TOKEN=OPERATORS)

    def sent(path: str) -> str | None:
        wait_for(lambda: len(upstream.messages) % 2 == 0, what="the history")
        return upstream.at(path)[-1].headers.get("authorization")

    served.ask("hi")
    served.get("/xo-auth/whoami")
    assert sent(ADD_MESSAGE) == sent(WHOAMI) == f"Bearer {OPERATORS}"
    assert served.get("/xo-auth/state").json()["token_source"] == "dynamic_or_env"
    served.post("/xo-auth/consume", NAMES)
    served.ask("hi")
    wait_for(lambda: len(upstream.messages) == 4, what="the history")
    served.get("/xo-auth/whoami")
    assert sent(ADD_MESSAGE) == sent(WHOAMI) == f"Bearer {ACCESS_TOKEN}"
    served.post("/xo-auth/logout")
    served.ask("hi")
    wait_for(lambda: len(upstream.messages) == 6, what="the history")
    served.get("/xo-auth/whoami")
    assert sent(ADD_MESSAGE) == sent(WHOAMI) == f"Bearer {OPERATORS}"


def test_logout_forgets_the_token(connect: Connect) -> None:
    served = connect()
    served.post("/xo-auth/consume", NAMES)
    for _ in range(2):
        reply = served.post("/xo-auth/logout", {})
        assert reply.status_code == 200
        assert reply.json() == {"success": True, "message": "Auth token cleared"}
        assert served.get("/xo-auth/state").json().items() >= NOTHING.items()
        assert served.get("/xo-auth/whoami").status_code == 401
