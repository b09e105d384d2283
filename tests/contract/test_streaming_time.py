"""When a stream's reply begins, when its tokens come, and what fills the silence."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.background import BackgroundCalls
from tests.contract.replies import is_uuid, problem
from tests.fakes import Fakes
from tests.serving import Client, Served, frames, joined

Another = Callable[..., Client]
PLAIN = {
    "[[fail 500]]": (502, "claude_api_error"),
    "[[fail 529]]": (503, "claude_overloaded"),
    "[[fail 429]]": (429, "claude_rate_limited"),
    "[[fail not_logged_in]]": (503, "claude_not_authenticated"),
    "[[pause 300]] [[fail 500]]": (502, "claude_api_error"),
    "[[retry 2 50]] [[fail 500]]": (502, "claude_api_error"),
}


def _arrivals(client: Client, question: str) -> list[float]:
    """When each token came, in seconds since the first."""
    with client.stream(question) as reply:
        moments = [time.monotonic() for frame in frames(reply) if "token" in frame.data]
    return [moment - moments[0] for moment in moments]


def test_tokens_come_one_by_one(served: Served) -> None:
    _come_one_by_one(_arrivals(served, "[[delay 60]] [[words 6]]"))


def _come_one_by_one(moments: list[float]) -> None:
    assert len(moments) == 6
    assert moments[-1] > 0.25  # the fake takes 0.3
    apart = [after - before for before, after in pairwise(moments)]
    assert sum(gap > 0.02 for gap in apart) >= 4, apart


def test_a_failure_before_the_first_token_is_a_plain_error(served: Served) -> None:
    for scene, (status, code) in PLAIN.items():
        with served.stream(scene) as reply:
            problem(reply, status, code)
            assert is_uuid(reply.headers["X-Turn-ID"])
        assert joined(served.streamed("[[words 3]]")) == "w1 w2 w3"


@pytest.mark.parametrize("scene", ["die", "kill", "partial"])
def test_a_failure_after_the_first_token_is_an_error_frame(served: Served, scene: str) -> None:
    *tokens, error, last = served.streamed(f"[[delay 20]] [[{scene}]] [[words 9]]")
    assert joined(tokens) == "w1 w2 w3 "
    assert error.data["type"] == "error"
    assert error.data["code"] == "claude_failed"
    assert error.data["error"].strip()
    assert last.data["done"] is True
    assert last.data["success"] is False
    assert joined(served.streamed("[[words 3]]")) == "w1 w2 w3"


def test_a_reply_begins_after_the_longest_wait(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_FIRST_EVENT_WAIT="0.3", COWORK_KEEPALIVE="0.1")
    begun = time.monotonic()
    with served.stream("[[pause 3000]] [[words 2]]") as reply:
        assert 0.2 < time.monotonic() - begun < 2.5
        assert reply.status_code == 200
        text = reply.text
    assert text.count(": keep-alive") >= 4
    assert '"w1 "' in text


def test_a_failure_after_the_longest_wait_is_an_error_frame(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_FIRST_EVENT_WAIT="0.1")
    error, last = served.streamed("[[pause 400]] [[fail 529]]")
    assert error.data["type"] == "error"
    assert error.data["code"] == "claude_overloaded"
    assert last.data["success"] is False


def test_a_reply_begins_with_the_first_event_that_was_asked_for(served: Served) -> None:
    begun = time.monotonic()
    with served.stream("[[think 2]] [[delay 2500]] [[words 1]]", events=["thinking"]) as reply:
        assert time.monotonic() - begun < 2
        assert joined(list(frames(reply))) == "w1"


def test_the_reply_of_a_queued_question_begins_at_once(
    logged: Served, fakes: Fakes, background: BackgroundCalls, another: Another
) -> None:
    first = background(another(logged).ask, "[[pause 2500]] [[words 1]]")
    fakes.wait_asked()
    begun = time.monotonic()
    with logged.stream("[[words 2]]") as reply:
        assert time.monotonic() - begun < 2
        assert not first.done()
        assert reply.status_code == 200
        assert is_uuid(reply.headers["X-Turn-ID"])
        assert joined(list(frames(reply))) == "w1 w2"
    assert first.result().status_code == 200


def test_the_failure_of_a_queued_question_is_an_error_frame(
    logged: Served, fakes: Fakes, background: BackgroundCalls, another: Another
) -> None:
    first = background(another(logged).ask, "[[pause 300]]")
    fakes.wait_asked()
    error, last = logged.streamed("[[fail 500]]")
    assert error.data["code"] == "claude_api_error"
    assert last.data["success"] is False
    assert first.result().status_code == 200


def test_silence_is_filled_with_comments(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_KEEPALIVE="0.05")
    with served.stream("[[delay 300]] [[words 3]]") as reply:
        text = reply.text
    assert text.count(": keep-alive") >= 6
    assert [line for line in text.splitlines() if line.startswith("data")] != []


def test_a_stream_may_last_longer_than_the_timeout_while_it_speaks(
    serve: Callable[..., Served],
) -> None:
    served = serve(CLAUDE_TIMEOUT="0.5")
    seen = served.streamed("[[delay 80]] [[words 10]]")
    assert seen[-1].data["success"] is True
    problem(served.ask("[[delay 80]] [[words 10]]"), 504, "claude_timeout")


def test_a_stream_that_falls_silent_times_out(serve: Callable[..., Served]) -> None:
    served = serve(CLAUDE_TIMEOUT="2")
    *tokens, error, last = served.streamed("[[stall]] [[words 9]]")
    assert joined(tokens) == "w1 w2 w3 "
    assert error.data["code"] == "claude_timeout"
    assert last.data["success"] is False
    with served.stream("[[hang]]") as reply:
        problem(reply, 504, "claude_timeout")
    assert joined(served.streamed("[[words 3]]")) == "w1 w2 w3"
