"""The clients against a real server, on a real socket, that lies, stalls and drips."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import logging
import socket
import threading
import time
import tracemalloc
from datetime import UTC, datetime

import pytest

from cowork.errors import BadUpstream, UpstreamTimeout
from cowork.history.chat_api import ChatApi, Refused, Unreachable
from cowork.model import ChatMessage, Project
from cowork.upstream.http import LIMITS, Limits, Request, UpstreamClient
from cowork.xo.auth_api import XoAuthApi
from tests.patience import PATIENCE_S
from tests.upstream import (
    ADD_MESSAGE,
    FLOODS,
    START_REPLY,
    Upstream,
    breaks_off,
    drips_body,
    drips_headers,
    drops_reply,
    fails,
    garbage,
    hangs,
    huge,
    ok,
    redirects,
    says,
    until,
)

QUICK = Limits(connect=0.5, read=0.3, total=0.6)
NOW = datetime(2026, 1, 31, tzinfo=UTC)
MESSAGE = ChatMessage("turn-1-question", Project("", "p"), "u", "hi", "@xo", created=NOW)
POLL_TOKEN = "poll-token-canary"

SESSION_IDS = {
    "plain-ID_1": "plain-ID_1",
    "../../get-user-id": "..%2F..%2Fget-user-id",
    "x?y=": "x%3Fy%3D",
    "%2e%2e%2f": "%252e%252e%252f",
    "%2e%2e": "%252e%252e",
    "a/b": "a%2Fb",
    "..": "%2E%2E",
    ".": "%2E",
    "...": "...",
    "a.b": "a.b",
    "#": "%23",
    ";v=1": "%3Bv%3D1",
    "a b+c": "a%20b%2Bc",
    "@evil.example": "%40evil.example",
    "//evil.example": "%2F%2Fevil.example",
    "\\..\\x": "%5C..%5Cx",
    "\r\nX-Evil: 1": "%0D%0AX-Evil%3A%201",
    "\x00": "%00",
    "schlüssel-鍵": "schl%C3%BCssel-%E9%8D%B5",
    "\ud800": "%ED%A0%80",
}


@pytest.fixture
def upstream():
    with Upstream() as running:
        yield running


@pytest.fixture
def http(upstream):
    client = UpstreamClient(upstream.url, QUICK)
    yield client
    client.close()


@pytest.fixture
def call(http):
    return lambda: http.call(
        Request("GET", "/x", query={"poll_token": POLL_TOKEN}, token="token-canary")
    )


def test_the_limits_are_those_of_the_contract():
    assert (
        Limits(connect=10.0, read=30.0, total=60.0, body=1024 * 1024, calls=LIMITS.calls) == LIMITS
    )


@pytest.mark.parametrize(("session_id", "segment"), SESSION_IDS.items(), ids=ascii)
def test_t11_a_session_id_is_one_path_segment_on_the_wire(upstream, http, session_id, segment):
    upstream.always(ok({"status": "pending"}))
    XoAuthApi(http).status(session_id, "p&=? ü", token=None)
    assert [seen.target for seen in upstream.seen] == [
        f"/auth/browser/status/{segment}?poll_token=p%26%3D%3F+%C3%BC"
    ]
    assert "x-evil" not in upstream.seen[0].headers


def test_a_base_url_with_a_path_keeps_it(upstream):
    http = UpstreamClient(f"{upstream.url}/api/v1", QUICK)
    upstream.always(ok(START_REPLY))
    assert XoAuthApi(http).start(None, "demo", token="t") == START_REPLY
    assert upstream.seen[0].target == "/api/v1/auth/browser/start"
    http.close()


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_t11_a_redirect_is_not_followed(upstream, call, status):
    with Upstream() as canary:
        upstream.always(redirects(f"{canary.url}/canary", status))
        with pytest.raises(BadUpstream):
            call()
        assert canary.seen == []
    assert len(upstream.seen) == 1


def test_the_endless_body_of_a_redirect_is_not_read(upstream, call):
    def redirects_at_length(exchange):
        exchange.send(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n\r\n")
        huge(exchange)

    upstream.always(redirects_at_length)
    begun = time.monotonic()
    with pytest.raises(BadUpstream):
        call()
    assert time.monotonic() - begun < QUICK.read


@pytest.mark.parametrize("behaviour", [hangs, drips_body, drips_headers])
def test_an_upstream_that_stalls_is_given_up_in_time(upstream, call, behaviour):
    upstream.always(behaviour)
    begun = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        call()
    assert time.monotonic() - begun < QUICK.total + 0.5


@pytest.mark.parametrize("behaviour", [garbage, drops_reply, breaks_off, huge])
def test_an_upstream_that_speaks_nonsense_is_a_bad_upstream(upstream, call, behaviour):
    upstream.always(behaviour)
    with pytest.raises(BadUpstream):
        call()


@pytest.mark.parametrize("flood", FLOODS)
def test_fault_s7_an_upstream_that_floods_is_given_up_by_bytes(upstream, flood):
    """Not by time: a parser would be busy with it for as long as a reply may take."""
    upstream.always(FLOODS[flood])
    with contextlib.closing(UpstreamClient(upstream.url, Limits(total=3600))) as http:
        with pytest.raises(BadUpstream):
            XoAuthApi(http).start(["chat"], "me", token=None)
        with contextlib.suppress(Unreachable):
            ChatApi(http).add_message(MESSAGE, None)


@pytest.mark.parametrize("times", [1, 3])
def test_fault_s7_a_body_that_unpacks_to_more_than_the_limit_is_cut(upstream, times):
    body = b" " * 64 * 2**20
    for _ in range(times):
        body = gzip.compress(body)
    upstream.always(says(200, body, content_encoding=", ".join(["gzip"] * times)))
    with contextlib.closing(UpstreamClient(upstream.url)) as http:
        tracemalloc.start()
        with pytest.raises(BadUpstream, match="more than 1048576 bytes"):
            XoAuthApi(http).start(["chat"], "me", token=None)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 16 * 2**20
    assert upstream.seen[0].headers["accept-encoding"] == "identity"


def test_a_body_of_exactly_the_limit_is_read(upstream, http):
    upstream.always(says(200, b"x" * QUICK.body))
    assert len(http.call(Request("GET", "/x")).body) == QUICK.body
    upstream.always(says(200, b"x" * (QUICK.body + 1)))
    with pytest.raises(BadUpstream):
        http.call(Request("GET", "/x"))


def test_an_upstream_that_is_gone_is_a_bad_upstream(upstream, call):
    upstream.stop()
    with pytest.raises(BadUpstream):
        call()


def test_a_name_that_nobody_has_is_a_bad_upstream():
    http = UpstreamClient("http://a.invalid", QUICK)
    with pytest.raises((BadUpstream, UpstreamTimeout)):
        http.call(Request("GET", "/x"))
    http.close()


def test_errors_tell_the_base_url_and_nothing_else(upstream, call, caplog):
    caplog.set_level(logging.WARNING)
    for behaviour in (hangs, garbage, breaks_off, drips_headers, redirects("http://10.0.0.1/x")):
        upstream.always(behaviour)
        with pytest.raises((BadUpstream, UpstreamTimeout)) as caught:
            call()
        sentence = caught.value.message
        assert upstream.url in sentence
        assert "canary" not in sentence
        assert "/x" not in sentence
        assert "10.0.0.1" not in sentence
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "canary" not in caplog.text


def test_a_token_that_http_cannot_carry_is_told_without_it(upstream, http):
    for token in ("tokén-鍵-canary", "a\r\nb-canary"):
        with pytest.raises(BadUpstream) as caught:
            http.call(Request("GET", "/x", token=token))
        assert "canary" not in caught.value.message
    assert upstream.seen == []


def test_environment_proxies_and_netrc_are_not_used(upstream, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password netrc-canary\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    http = UpstreamClient(upstream.url, QUICK)
    assert http.call(Request("GET", "/get-user-id")).ok
    assert "authorization" not in upstream.seen[0].headers
    http.close()


def test_cookies_are_not_kept(upstream, http):
    upstream.always(says(200, "{}", set_cookie="canary=1; Path=/"))
    http.call(Request("GET", "/x"))
    http.call(Request("GET", "/x"))
    assert "cookie" not in upstream.seen[1].headers


def test_a_connection_is_used_again(upstream, http):
    for _ in range(3):
        http.call(Request("GET", "/get-user-id"))
        ChatApi(http).add_message(MESSAGE, None)
    assert len(upstream.connections) == 1


def test_calls_at_once_are_bounded_and_the_rest_fail_in_time(upstream):
    upstream.always(hangs)
    http = UpstreamClient(
        upstream.url, dataclasses.replace(QUICK, calls=2, connect=0.1, read=50, total=50)
    )
    waiting = [threading.Thread(target=_ignore, args=(http,), daemon=True) for _ in range(2)]
    for thread in waiting:
        thread.start()
    until(lambda: len(upstream.seen) == 2)
    with pytest.raises(UpstreamTimeout, match="too many"):
        http.call(Request("GET", "/x"))
    http.close()
    for thread in waiting:
        thread.join(PATIENCE_S)
    assert upstream.most_at_once == 2


def test_closing_ends_a_call_under_way(upstream):
    upstream.always(hangs)
    http = UpstreamClient(upstream.url, dataclasses.replace(QUICK, read=50, total=50))
    thread = threading.Thread(target=_ignore, args=(http,), daemon=True)
    thread.start()
    until(lambda: upstream.seen)
    http.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def _ignore(http):
    with pytest.raises((BadUpstream, UpstreamTimeout)):
        http.call(Request("GET", "/x"))


@pytest.mark.parametrize("behaviour", [ok(), says(204), says(200, "<html>"), breaks_off, huge])
def test_a_chat_message_is_delivered_once_its_200_is_there(upstream, http, behaviour):
    upstream.always(behaviour)
    ChatApi(http).add_message(MESSAGE, "token")
    (seen,) = upstream.at(ADD_MESSAGE)
    assert seen.json == {"project_id": "p", "user_id": "u", "message": "hi", "type": "@xo"}
    assert seen.headers["idempotency-key"] == "turn-1-question"
    assert seen.headers["authorization"] == "Bearer token"
    assert seen.headers["content-type"] == "application/json"


def test_a_dripped_200_delivers_too_and_does_not_hold_us(upstream, http):
    upstream.always(drips_body)
    begun = time.monotonic()
    ChatApi(http).add_message(MESSAGE, None)
    assert time.monotonic() - begun < QUICK.total + 0.5


@pytest.mark.parametrize(
    "behaviour",
    [hangs, drips_headers, garbage, drops_reply, fails(500), fails(503), redirects("/elsewhere")],
)
def test_a_chat_message_waits_while_the_chat_api_fails(upstream, http, behaviour):
    upstream.always(behaviour)
    with pytest.raises(Unreachable) as caught:
        ChatApi(http).add_message(MESSAGE, "token-canary")
    assert "canary" not in caught.value.reason


def test_a_message_of_any_text_arrives_as_it_is(upstream, http):
    text = '\x00 ü 鍵 \U0001f600 \ud800 "quoted" \\ ' + "long " * 300_000
    ChatApi(http).add_message(dataclasses.replace(MESSAGE, message=text), None)
    assert upstream.messages[0]["message"] == text


def test_a_refused_message_is_told_apart(upstream, http):
    upstream.always(fails(422))
    with pytest.raises(Refused) as caught:
        ChatApi(http).add_message(MESSAGE, None)
    assert caught.value.status == 422


def test_an_upstream_ends_though_many_hang_and_the_event_loop_was_held_up():
    """A loop that is held up makes the waits of all of them end at the same moment."""

    def hold_up(seconds):
        time.sleep(0.001)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass

    with contextlib.ExitStack() as opened:
        upstream = opened.enter_context(Upstream())
        upstream.always(hangs)
        for _ in range(5):
            caller = socket.create_connection(("127.0.0.1", upstream.port))
            opened.callback(caller.close)
            caller.sendall(b"GET / HTTP/1.1\r\n\r\n")
        until(lambda: len(upstream.seen) == 5)
        for _ in range(4):
            held = threading.Thread(target=hold_up, args=(0.06,))
            held.start()
            time.sleep(0.002)  # ends with theirs
        upstream.stop()
        held.join()
    assert upstream.most_at_once == 5
