"""`CLAUDE_TIMEOUT` and the request's `timeout`: a whole turn's time, or the silence in a stream."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.contract.replies import ASK_PATHS, invalid, problem
from tests.fake_claude import Lifelines
from tests.fakes import Fakes
from tests.serving import Served, joined
from tests.turns.raw_client import last_frame, question, turn_of
from tests.upstream import Upstream, until

STEADY = "[[words 34]] [[delay 50]]"  # more than a second and a half, never silent for long
SLACK_S = 2.0


def test_a_whole_answer_has_the_time_limit_for_all_of_it(
    serve: Callable[..., Served], upstream: Upstream
) -> None:
    served = serve(CLAUDE_TIMEOUT="1", CHAT_API_BASE_URL=upstream.url)
    begun = time.monotonic()
    reply = served.ask(STEADY)
    assert 0.9 <= time.monotonic() - begun < 1 + SLACK_S
    problem(reply, 504, "claude_timeout")
    turn = turn_of(served, reply.headers["X-Turn-ID"])
    assert turn["state"] == "failed"
    assert turn["message"].startswith("w1 w2 w3 ")
    until(lambda: len(upstream.messages) == 2)
    assert upstream.messages[1]["status"] == "failed"
    assert upstream.messages[1]["message"] == turn["message"]


def test_a_stream_may_take_longer_as_long_as_something_comes(serve: Callable[..., Served]) -> None:
    seen = serve(CLAUDE_TIMEOUT="1").streamed(STEADY)
    assert last_frame(seen)["success"] is True
    assert joined(seen).endswith("w34")


@pytest.mark.parametrize("act", ["[[stall]] [[words 9]]", "[[words 9]] [[delay 20000]]"])
def test_a_stream_that_falls_silent_for_too_long_ends(
    act: str, serve: Callable[..., Served]
) -> None:
    served = serve(CLAUDE_TIMEOUT="0.8")
    begun = time.monotonic()
    seen = served.streamed(act)
    assert 0.7 <= time.monotonic() - begun < 0.8 + SLACK_S
    assert seen[-2].data["code"] == "claude_timeout"
    assert last_frame(seen)["success"] is False
    assert served.ask("hi").status_code == 200


def test_a_stream_that_never_says_anything_is_a_plain_failure(
    serve: Callable[..., Served],
) -> None:
    served = serve(CLAUDE_TIMEOUT="0.8")
    problem(served.post("/ask_question_streaming", question("[[hang]]")), 504, "claude_timeout")


@pytest.mark.parametrize("path", ASK_PATHS)
def test_a_request_may_shorten_the_limit(path: str, served: Served) -> None:
    begun = time.monotonic()
    reply = served.post(path, question("[[hang]]", timeout=0.5))
    problem(reply, 504, "claude_timeout")
    assert time.monotonic() - begun < 0.5 + SLACK_S
    assert served.ask("hi").status_code == 200


@pytest.mark.parametrize("path", ASK_PATHS)
def test_a_request_cannot_lengthen_the_limit(path: str, serve: Callable[..., Served]) -> None:
    served = serve(CLAUDE_TIMEOUT="0.5")
    begun = time.monotonic()
    problem(served.post(path, question("[[hang]]", timeout=60)), 504, "claude_timeout")
    assert time.monotonic() - begun < 0.5 + SLACK_S


@pytest.mark.parametrize("limit", [0, -1, "soon", [], True])
def test_a_limit_that_is_none_is_a_fault_of_the_request(limit: object, served: Served) -> None:
    invalid(served.post("/ask_question", question("hi", timeout=limit)), "body")


def test_a_timed_out_turns_process_answers_the_next_question(logged: Served, fakes: Fakes) -> None:
    problem(logged.ask("[[hang]] one", timeout=0.5), 504, "claude_timeout")
    assert logged.ask("[[count]] two").json()["message"] == "I see 2 questions: one | two"
    assert len(fakes.entries("start")) == 1


def test_a_process_that_ignores_everything_is_killed_and_the_session_goes_on(
    serve: Callable[..., Served], fakes: Fakes, lifelines: Lifelines
) -> None:
    served = serve(**fakes.settings(), **lifelines.environment)
    begun = time.monotonic()
    problem(served.ask("[[deaf]] one", timeout=0.5), 504, "claude_timeout")
    assert time.monotonic() - begun < 0.5 + 1 + SLACK_S
    assert served.ask("[[count]] two").json()["message"] == "I see 2 questions: one | two"
    assert time.monotonic() - begun < 0.5 + 6 + SLACK_S
    assert lifelines.wait_for(1), lifelines.held
