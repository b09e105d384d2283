"""What the Chat API is sent, and what its replies mean for a message."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests
import responses

from cowork.history.chat_api import ChatApi, LoginNeeded, NoChatApi, Refused, Unreachable
from cowork.model import ChatMessage, Project
from cowork.upstream.http import UpstreamClient

URL = "http://chat.test:5001/chat/add_message"
NOW = datetime(2026, 1, 31, tzinfo=UTC)
MESSAGE = ChatMessage("turn-1-answer", Project("alice", "a/b"), "user-1", "4", "agent", created=NOW)


@pytest.fixture
def server():
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def chat_api():
    http = UpstreamClient("http://chat.test:5001")
    yield ChatApi(http)
    http.close()


def sent(server):
    return json.loads(server.calls[0].request.body)


def test_a_message_is_sent_with_exactly_the_keys_of_the_contract(server, chat_api):
    server.post(URL, json={})
    chat_api.add_message(MESSAGE, "token-1")
    assert sent(server) == {
        "project_id": "a/b",
        "user_id": "user-1",
        "message": "4",
        "type": "agent",
    }
    headers = server.calls[0].request.headers
    assert headers["Idempotency-Key"] == "turn-1-answer"
    assert headers["Authorization"] == "Bearer token-1"
    assert headers["Content-Type"] == "application/json"


def test_a_message_without_user_and_type_says_null(server, chat_api):
    server.post(URL, json={})
    chat_api.add_message(
        replace(MESSAGE, project=Project("", "p"), user_id=None, message="m", type=None), None
    )
    assert sent(server) == {"project_id": "p", "user_id": None, "message": "m", "type": None}


@pytest.mark.parametrize("status", ["partial", "failed"])
def test_only_a_partial_or_failed_turn_sends_its_status(server, chat_api, status):
    server.post(URL, json={})
    chat_api.add_message(replace(MESSAGE, status=status), None)
    assert sent(server)["status"] == status


def test_no_token_means_no_authorization(server, chat_api):
    server.post(URL, json={})
    chat_api.add_message(MESSAGE, None)
    assert "Authorization" not in server.calls[0].request.headers


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_every_2xx_is_a_delivery(server, chat_api, status):
    server.post(URL, status=status)
    chat_api.add_message(MESSAGE, None)


@pytest.mark.parametrize("status", [400, 402, 404, 405, 409, 410, 413, 415, 422, 451, 499])
def test_a_4xx_is_for_good(server, chat_api, status):
    server.post(URL, status=status)
    with pytest.raises(Refused) as caught:
        chat_api.add_message(MESSAGE, None)
    assert caught.value.status == status


@pytest.mark.parametrize("status", [408, 425, 429, 301, 302, 500, 502, 503, 504, 599])
def test_what_time_may_mend_is_for_now(server, chat_api, status):
    server.post(URL, status=status)
    with pytest.raises(Unreachable) as caught:
        chat_api.add_message(MESSAGE, None)
    assert caught.value.retry_after is None


@pytest.mark.parametrize(("status", "token"), [(401, None), (401, "token-1"), (403, None)])
def test_what_another_token_may_mend_wants_a_login(server, chat_api, status, token):
    server.post(URL, status=status)
    with pytest.raises(LoginNeeded) as caught:
        chat_api.add_message(MESSAGE, token)
    assert caught.value.token == token
    assert "token-1" not in str(caught.value)


def test_what_a_token_does_not_allow_is_for_good(server, chat_api):
    server.post(URL, status=403)
    with pytest.raises(Refused):
        chat_api.add_message(MESSAGE, "token-1")


@pytest.mark.parametrize(
    ("named", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("99999999", 3600.0),
        ("-5", None),
        ("1e9", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        ("Mon, 01 Jan 1990 00:00:00 GMT", 0.0),
        ("Mon, 01 Jan 9999 00:00:00 GMT", 3600.0),
    ],
    ids=ascii,
)
def test_retry_after_is_told_in_seconds(server, chat_api, named, seconds):
    server.post(URL, status=429, headers={"Retry-After": named})
    with pytest.raises(Unreachable) as caught:
        chat_api.add_message(MESSAGE, None)
    assert caught.value.retry_after == seconds


def test_retry_after_may_be_a_date(server, chat_api):
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    server.post(URL, status=503, headers={"Retry-After": soon})
    with pytest.raises(Unreachable) as caught:
        chat_api.add_message(MESSAGE, None)
    assert 25 < caught.value.retry_after <= 30


@pytest.mark.parametrize(
    "fault",
    [
        requests.ConnectionError("secret-canary at http://10.0.0.1/x"),
        requests.ConnectTimeout("secret-canary"),
        requests.ReadTimeout("secret-canary"),
        requests.exceptions.SSLError("secret-canary"),
        requests.exceptions.ChunkedEncodingError("secret-canary"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_fault_of_the_network_is_for_now_and_told_without_its_words(server, chat_api, fault):
    server.post(URL, body=fault)
    with pytest.raises(Unreachable) as caught:
        chat_api.add_message(MESSAGE, None)
    assert "canary" not in caught.value.reason
    assert "http://chat.test:5001" in caught.value.reason


def test_no_chat_api_takes_everything_and_sends_nothing(server):
    NoChatApi().add_message(MESSAGE, "token")
    assert len(server.calls) == 0
