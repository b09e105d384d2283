"""The XO login's four calls, and an upstream that lies in each of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import requests
import responses

from cowork import log
from cowork.errors import BadUpstream, UpstreamRefused, UpstreamTimeout
from cowork.model import XoToken
from cowork.stores.memory.store import MemoryStore
from cowork.upstream.http import UpstreamClient
from cowork.xo.auth_api import DisabledXoAuthApi, XoAuthApi, XoPaths
from tests.bad_upstream import LYING_GRANTS, LYING_LINKS, LYING_NAMES, NOT_AN_OBJECT, with_token
from tests.unit.xo.parts import Parts

BASE = "http://xo.test"
START = f"{BASE}/auth/browser/start"
STATUS = f"{BASE}/auth/browser/status/s-1"
CONSUME = f"{BASE}/auth/browser/consume"
WHOAMI = f"{BASE}/get-user-id"
REFRESH = f"{BASE}/auth/refresh"
HELD = XoToken("held-token-123", None, None, "held-user", "held-session")


@pytest.fixture
def server():
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def xo_auth():
    http = UpstreamClient(BASE)
    yield XoAuthApi(http, XoPaths(refresh="/auth/refresh"))
    http.close()


@pytest.fixture
def call(xo_auth):
    """Each of the calls by its name."""
    return {
        "start": lambda: xo_auth.start(None, None, token="held-token-123"),
        "status": lambda: xo_auth.status("s-1", "poll-token-1", token="held-token-123"),
        "consume": lambda: xo_auth.consume("s-1", "poll-token-1", token="held-token-123"),
        "whoami": lambda: xo_auth.user_id("held-token-123"),
        "refresh": lambda: xo_auth.refresh("held-refresh-1"),
    }


ADDRESSES = {
    "start": ("POST", START),
    "status": ("GET", STATUS),
    "consume": ("POST", CONSUME),
    "whoami": ("GET", WHOAMI),
    "refresh": ("POST", REFRESH),
}


def test_start_sends_both_keys_and_returns_the_reply_as_it_is(server, xo_auth):
    reply = {"authorize_url": "http://localhost:3000/go", "poll_token": "p", "new": [1.5, None]}
    server.post(START, json=reply, match=[
        responses.matchers.json_params_matcher({"scopes": None, "client_reference": "demo"}),
        responses.matchers.header_matcher({"Authorization": "Bearer t"}),
    ])  # fmt: skip
    assert xo_auth.start(None, "demo", token="t") == reply


def test_status_returns_the_reply_as_it_is(server, xo_auth):
    server.get(STATUS, json={"status": "pending"}, match=[
        responses.matchers.query_param_matcher({"poll_token": "poll&token"}),
    ])  # fmt: skip
    assert xo_auth.status("s-1", "poll&token", token=None) == {"status": "pending"}
    assert "Authorization" not in server.calls[0].request.headers


def test_consume_returns_the_grant(server, xo_auth):
    server.post(CONSUME, body=with_token(refresh_token="r", user_id="u", scope="chat"), match=[
        responses.matchers.json_params_matcher({"auth_session_id": "s-1", "poll_token": "p"}),
    ])  # fmt: skip
    grant = xo_auth.consume("s-1", "p", token=None)
    assert (grant.access_token, grant.refresh_token) == ("a-token-123", "r")
    assert (grant.expires_in, grant.user_id, grant.scope) == (60, "u", "chat")
    assert grant.auth_session_id is None
    assert "a-token-123" not in repr(grant)


@pytest.mark.parametrize("expires_in", [None, 0, 0.0, -0.0])
def test_a_token_without_an_end_has_none(server, xo_auth, expires_in):
    server.post(CONSUME, body=with_token(expires_in=expires_in))
    assert xo_auth.consume("s-1", "p", token=None).expires_in is None


def test_user_id_asks_with_the_token(server, xo_auth):
    server.get(WHOAMI, json={"user_id": "u-1"}, match=[
        responses.matchers.header_matcher({"Authorization": "Bearer t"}),
    ])  # fmt: skip
    assert xo_auth.user_id("t") == "u-1"


def test_refresh_sends_the_refresh_token_alone(server, xo_auth):
    server.post(REFRESH, body=with_token(refresh_token="r-2"), match=[
        responses.matchers.json_params_matcher({"refresh_token": "r-1"}),
    ])  # fmt: skip
    grant = xo_auth.refresh("r-1")
    assert (grant.access_token, grant.refresh_token, grant.expires_in) == ("a-token-123", "r-2", 60)
    assert "Authorization" not in server.calls[0].request.headers


def test_without_a_path_nobody_is_asked_for_a_refresh(server):
    http = UpstreamClient(BASE)
    assert XoAuthApi(http).refresh("r-1") is None
    assert DisabledXoAuthApi().refresh("r-1") is None
    assert len(server.calls) == 0
    http.close()


@pytest.mark.parametrize("name", ["start", "status"])
@pytest.mark.parametrize(
    "reply",
    [
        {"status": "held-token-123"},
        {"deep": [{"x": "Bearer held-token-123"}]},
        {"held-token-123": 1},
    ],
    ids=str,
)
def test_an_answer_that_holds_the_token_it_was_sent_is_not_passed_on(server, call, name, reply):
    server.add(*ADDRESSES[name], json=reply)
    with pytest.raises(BadUpstream):
        call[name]()


@pytest.mark.parametrize("body", (LYING_GRANTS | NOT_AN_OBJECT).values(), ids=LYING_GRANTS | NOT_AN_OBJECT)  # fmt: skip
def test_a_lying_refresh_changes_nothing(server, xo_auth, body):
    store = MemoryStore()
    held = replace(HELD, refresh_token="held-refresh-1")
    store.put_token(held)
    server.post(REFRESH, body=body)
    assert Parts(store, xo_auth).refresh("held-token-123") is False
    assert store.token() == held


def test_the_paths_can_be_set(server):
    http = UpstreamClient(f"{BASE}/api")
    server.get(f"{BASE}/api/me", json={"user_id": "u-1"})
    assert XoAuthApi(http, XoPaths(user_id="/me")).user_id("t") == "u-1"
    http.close()


@pytest.mark.parametrize("body", NOT_AN_OBJECT.values(), ids=NOT_AN_OBJECT)
@pytest.mark.parametrize("name", ADDRESSES)
def test_an_answer_that_is_no_json_object_is_a_bad_upstream(server, call, name, body):
    server.add(*ADDRESSES[name], body=body)
    with pytest.raises(BadUpstream):
        call[name]()


@pytest.mark.parametrize("body", (LYING_GRANTS | NOT_AN_OBJECT).values(), ids=LYING_GRANTS | NOT_AN_OBJECT)  # fmt: skip
def test_a_lying_grant_is_a_bad_upstream_and_changes_nothing(server, xo_auth, body):
    store = MemoryStore()
    store.put_token(HELD)
    login = Parts(store, xo_auth)
    before = login.state()
    server.post(CONSUME, body=body)
    with pytest.raises(BadUpstream) as caught:
        login.consume("s-1", "poll-token-1")
    assert store.token() == HELD
    assert login.state() == before
    assert "token-123" not in caught.value.message


@pytest.mark.parametrize("user_id", LYING_NAMES, ids=ascii)
def test_a_lying_user_id_is_a_bad_upstream_and_changes_nothing(server, xo_auth, user_id):
    store = MemoryStore()
    store.put_token(HELD)
    server.get(WHOAMI, json={"user_id": user_id})
    with pytest.raises(BadUpstream):
        Parts(store, xo_auth).whoami()
    assert store.token() == HELD


@pytest.mark.parametrize("link", LYING_LINKS, ids=lambda link: ascii(link)[:40])
def test_a_link_that_is_no_web_address_is_a_bad_upstream(server, xo_auth, link):
    server.post(START, json={"authorize_url": link})
    with pytest.raises(BadUpstream):
        xo_auth.start(None, None, token=None)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 429])
@pytest.mark.parametrize("name", ADDRESSES)
def test_a_4xx_is_told_with_its_status_and_text(server, call, name, status):
    server.add(*ADDRESSES[name], status=status, body='{"detail": "not yet"}')
    with pytest.raises(UpstreamRefused) as caught:
        call[name]()
    assert caught.value.status == status
    assert caught.value.facts == {"upstream": '{"detail": "not yet"}'}


@pytest.mark.parametrize("status", [301, 302, 307, 500, 502, 503, 599])
@pytest.mark.parametrize("name", ADDRESSES)
def test_a_5xx_or_a_redirect_is_a_bad_upstream(server, call, name, status):
    server.add(*ADDRESSES[name], status=status, body='{"access_token": "abc", "user_id": "u"}')
    with pytest.raises(BadUpstream):
        call[name]()


@pytest.mark.parametrize("name", ADDRESSES)
def test_silence_is_an_upstream_timeout(server, call, name):
    server.add(*ADDRESSES[name], body=requests.ReadTimeout())
    with pytest.raises(UpstreamTimeout):
        call[name]()


def test_the_text_of_a_refusal_is_cut_and_holds_no_secret(server, xo_auth):
    log.register_secret("a-known-secret-1")
    text = "x" * 1980 + " a-known-secret-1 poll-token-1 Bearer held-token-123 " + "ü" * 3000
    server.get(STATUS, status=400, body=text)
    with pytest.raises(UpstreamRefused) as caught:
        xo_auth.status("s-1", "poll-token-1", token="held-token-123")
    shown = caught.value.facts["upstream"]
    assert 1990 < len(shown.encode()) <= 2000
    for secret in ("a-known", "poll-token", "held-token"):
        assert secret not in shown


def test_the_text_of_a_refusal_may_be_any_bytes(server, xo_auth):
    server.get(WHOAMI, status=400, body=b"\xff\xfe\x00abc")
    with pytest.raises(UpstreamRefused) as caught:
        xo_auth.user_id("t")
    assert caught.value.facts["upstream"].endswith("abc")


def test_without_a_base_url_the_login_is_off():
    off = DisabledXoAuthApi()
    for call in (
        lambda: off.start(None, None, token=None),
        lambda: off.status("s", "p", token=None),
        lambda: off.consume("s", "p", token=None),
        lambda: off.user_id("t"),
    ):
        with pytest.raises(BadUpstream, match="CHAT_API_BASE_URL is empty"):
            call()
