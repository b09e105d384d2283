"""What the CLI says when it fails becomes one of our errors, with bounded words."""

from __future__ import annotations

import signal
import time

import pytest

from cowork.claude.stream_json.failures import (
    RequestRefused,
    SessionInUse,
    SessionMissing,
    from_death,
    from_result,
    sentence,
)
from cowork.errors import (
    ClaudeApiError,
    ClaudeFailed,
    ClaudeNotAuthenticated,
    ClaudeOverloaded,
    ClaudeRateLimited,
    ClaudeUnavailable,
    ModelNotFound,
)


def result(said="", status=None, **fields):
    given = {"subtype": "success", "is_error": True, "result": said, "api_error_status": status}
    return {**given, **fields}


# Section 6 of what was observed: the result's words, its status, the synthetic message's kind.
TABLE = [
    ("Not logged in · Please run /login", None, "authentication_failed", ClaudeNotAuthenticated),
    ("Not logged in · Please run /login", None, None, ClaudeNotAuthenticated),
    ("Failed to authenticate. API Error: 401 ..", 401, None, ClaudeNotAuthenticated),
    ("Invalid API key", None, "authentication_failed", ClaudeNotAuthenticated),
    ("Your organization ...", 403, "oauth_org_not_allowed", ClaudeNotAuthenticated),
    ("You've hit your session limit · resets 3:36pm", 429, "rate_limit", ClaudeRateLimited),
    ("You've hit your session limit", None, "rate_limit", ClaudeRateLimited),
    ("API Error: Request rejected (429)", 429, None, ClaudeRateLimited),
    ("Credit balance is too low", None, "billing_error", ClaudeRateLimited),
    ("Credit balance is too low", 402, None, ClaudeRateLimited),
    ("Repeated 529 Overloaded errors", None, None, ClaudeOverloaded),
    ("Repeated 529 Overloaded errors", None, "server_error", ClaudeOverloaded),
    ("?", 529, None, ClaudeOverloaded),
    ("?", None, "overloaded", ClaudeOverloaded),
    ("There's an issue with the selected model (X)", 404, "model_not_found", ModelNotFound),
    ("API Error: 403 ..", 403, None, ClaudeApiError),
    ("API Error: 400 ..", 400, "invalid_request", RequestRefused),
    ("Request too large (max 32MB)", 413, "invalid_request", RequestRefused),
    ("Prompt is too long", None, None, RequestRefused),
    ("messages.1.content.0: Invalid `signature` in `thinking` block", 400, None, RequestRefused),
    ("Your credit balance is too low to access the API", 400, "invalid_request", ClaudeApiError),
    ("You have reached your specified API usage limits", 400, "invalid_request", ClaudeApiError),
    ("API Error: 500 ..", 500, "server_error", ClaudeApiError),
    ("Unable to connect to API (ConnectionRefused)", None, "unknown", ClaudeApiError),
    ("Request timed out", None, "unknown", ClaudeApiError),
]


@pytest.mark.parametrize(("said", "status", "kind", "error"), TABLE)
def test_a_failed_api_call_has_an_error_of_its_kind(said, status, kind, error):
    assert type(from_result(result(said, status), kind, None)) is error


@pytest.mark.parametrize(
    "subtype",
    [
        "error_during_execution",
        "error_max_turns",
        "error_max_budget_usd",
        "error_max_structured_output_retries",
    ],
)
def test_a_turn_that_the_cli_gave_up_names_its_reason(subtype):
    error = from_result({"subtype": subtype, "is_error": True, "errors": ["why"]}, None, None)
    assert type(error) is ClaudeFailed
    assert error.facts == {"reason": subtype}
    assert "why" in error.message


def test_the_status_of_the_model_api_is_a_fact():
    assert from_result(result("x", 500), None, None).facts == {"api_status": 500}
    assert from_result(result("x"), None, None).facts == {}


def test_a_session_that_is_not_there_is_told_by_a_result():
    said = {"errors": ["No conversation found with session ID: x"], "num_turns": 0}
    error = from_result({"subtype": "error_during_execution", **said}, None, None)
    assert type(error) is SessionMissing


def test_a_limit_says_in_whole_seconds_when_to_come_back():
    error = from_result(result("limit", 429), "rate_limit", time.time() + 90.4)
    assert error.retry_after in {89, 90}


def test_a_limit_that_is_over_by_now_is_worth_another_try_soon():
    assert from_result(result("limit", 429), None, time.time() - 500).retry_after == 1


def test_a_limit_without_a_date_names_no_time():
    assert from_result(result("limit", 429), None, None).retry_after is None


def test_advice_on_the_login_says_what_to_do():
    message = from_result(result(status=401), None, None).message
    assert "claude /login" in message
    assert "ANTHROPIC_API_KEY" in message


ODD = [None, 5, [], {}, "", [1], {"a": "b"}, "\n\t", True]


@pytest.mark.parametrize("odd", ODD)
def test_a_result_of_an_odd_shape_is_an_error_all_the_same(odd):
    for key in ("result", "errors", "api_error_status", "subtype"):
        assert from_result(result(**{key: odd}), None, None).message


@pytest.mark.parametrize(("status", "kind"), [(500, None), (429, None), (None, "rate_limit")])
def test_what_the_cli_says_is_one_line_and_bounded(status, kind):
    error = from_result(result("x\ny\t" * 50_000, status), kind, None)
    assert len(error.message) < 600
    assert "\n" not in error.message
    assert error.message.endswith("…")


def test_a_sentence_of_the_bound_is_left_alone():
    assert sentence("x" * 500) == "x" * 500
    assert sentence("x" * 501) == "x" * 499 + "…"
    assert sentence(None) == ""


@pytest.mark.parametrize("spoke", [True, False])
@pytest.mark.parametrize("code", [1, None])
def test_a_session_in_the_way_is_told_by_stderr(spoke, code):
    missing = "No conversation found with session ID: x\n"
    in_use = "Error: Session ID x is already in use.\n"
    assert type(from_death(code, missing, spoke=spoke)) is SessionMissing
    assert type(from_death(code, in_use, spoke=spoke)) is SessionInUse


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_death_by_a_signal_names_the_signal(number):
    error = from_death(-number, "", spoke=True)
    assert type(error) is ClaudeFailed
    assert error.facts == {"signal": number}


@pytest.mark.parametrize("code", [0, 1, 137, 143])
def test_a_death_by_itself_names_the_exit_code(code):
    error = from_death(code, "", spoke=True)
    assert type(error) is ClaudeFailed
    assert error.facts == {"exit_code": code}


@pytest.mark.parametrize("code", [0, 1, 127, -9, None])
def test_one_that_never_spoke_never_started(code):
    assert type(from_death(code, "", spoke=False)) is ClaudeUnavailable


def test_an_end_of_the_output_alone_has_no_exit_code():
    assert from_death(None, "", spoke=True).facts == {"exit_code": None}


@pytest.mark.parametrize("spoke", [True, False])
def test_what_a_dying_cli_says_stays_in_the_log(spoke):
    error = from_death(1, "ANTHROPIC_API_KEY=sk-ant-canary /home/me/secret", spoke=spoke)
    assert "canary" not in error.message
    assert "canary" not in str(error.facts)
