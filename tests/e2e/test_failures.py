"""What goes wrong at the model's service is told truthfully and in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.background import BackgroundCalls
from tests.contract.replies import problem
from tests.e2e.environment import Stage, open_stage
from tests.serving import Client, free_port, wait_for

pytestmark = pytest.mark.e2e

Another = Callable[..., Client]

SECONDS = 15.0
LIMIT_S = 6.0
FAILURES = [
    (401, (503, "claude_not_authenticated")),
    (429, (429, "claude_rate_limited")),
    (500, (502, "claude_api_error")),
    (529, (503, "claude_overloaded")),
]


@pytest.fixture(scope="module")
def stage(real_claude: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server whose CLI tries once more; each further try costs these tests a second or two."""
    folder = tmp_path_factory.mktemp("stage")
    with open_stage(folder, real_claude, COWORK_CLI_RETRIES="1") as opened:
        yield opened


@pytest.mark.parametrize(("told", "failure"), FAILURES)
def test_a_failure_of_the_service_is_a_plain_error_and_the_next_question_works(
    stage: Stage, background: BackgroundCalls, another: Another, told: int, failure: tuple[int, str]
) -> None:
    begun = time.monotonic()
    # The stream has not begun when it fails, so that it is no stream.
    streamed = background(another(stage.server.url).stream, f"[[status {told}]]", "streamed")
    detail = problem(stage.server.ask(f"[[status {told}]]"), *failure)
    problem(streamed.result(), *failure)
    assert time.monotonic() - begun < SECONDS
    assert "\n" not in detail["error"]
    stage.answers_again()
    stage.answers_again("streamed")


def test_a_refused_login_says_what_to_do_until_it_works_again(stage: Stage) -> None:
    detail = problem(stage.server.ask("[[status 401]]"), 503, "claude_not_authenticated")
    ready = stage.server.get("/health/ready")
    assert ready.status_code == 503
    for said in (detail["error"], " ".join(ready.json()["reasons"])):
        assert "claude /login`" in said
        assert "ANTHROPIC_API_KEY" in said
    stage.answers_again()
    wait_for(lambda: stage.server.get("/health/ready").status_code == 200, what="readiness")


def test_a_failure_in_mid_stream_is_an_error_frame_and_a_last_one(stage: Stage) -> None:
    question = '[[tool Bash {"command": "echo hi"}]] [[status 500]]'
    *_, error, last = (frame.data for frame in stage.server.streamed(question))
    assert error["type"] == "error"
    assert error["code"] == "claude_api_error"
    assert error["error"].strip()
    assert last["done"] is True
    assert last["success"] is False
    stage.answers_again()


def test_a_turn_that_fails_once_at_the_service_is_tried_again(stage: Stage) -> None:
    assert stage.server.ask("[[status 529 1]] [[say after all]]").json()["message"] == "after all"


def test_a_service_that_cannot_be_reached_is_told_in_seconds(
    staged: Callable[..., Stage], background: BackgroundCalls, another: Another
) -> None:
    stage = staged(ANTHROPIC_BASE_URL=f"http://127.0.0.1:{free_port()}")
    begun = time.monotonic()
    streamed = background(another(stage.server.url).stream, "hello", "streamed")
    problem(stage.server.ask("hello"), 502, "claude_api_error")
    problem(streamed.result(), 502, "claude_api_error")
    assert time.monotonic() - begun < SECONDS
    assert stage.server.get("/health").json()["status"] == "healthy"


def test_a_service_that_says_nothing_runs_into_the_time_limit(
    staged: Callable[..., Stage], background: BackgroundCalls, another: Another
) -> None:
    stage = staged(CLAUDE_TIMEOUT=str(LIMIT_S))
    for project in ("silent", "silent stream", "stalled stream"):
        stage.answers_again(project)
    begun = time.monotonic()
    silent = background(another(stage.server.url).ask, "[[hang]]", "silent")
    stream = background(another(stage.server.url).stream, "[[hang]]", "silent stream")
    stalled = "[[stall 60]] [[words 9]]"
    *_, error, last = (frame.data for frame in stage.server.streamed(stalled, "stalled stream"))
    assert error["code"] == "claude_timeout"
    assert last["success"] is False
    problem(silent.result(), 504, "claude_timeout")
    problem(stream.result(), 504, "claude_timeout")
    assert LIMIT_S <= time.monotonic() - begun < 2 * LIMIT_S
    for project in ("silent", "silent stream", "stalled stream"):
        stage.answers_again(project)


def test_a_question_may_shorten_its_time(stage: Stage) -> None:
    stage.answers_again()
    begun = time.monotonic()
    problem(stage.server.ask("[[hang]]", timeout=0.5), 504, "claude_timeout")
    assert time.monotonic() - begun < 3
    stage.answers_again()


def test_without_a_login_everything_says_what_to_do(staged: Callable[..., Stage]) -> None:
    stage = staged(ANTHROPIC_API_KEY="")
    detail = problem(stage.server.ask("hello"), 503, "claude_not_authenticated")
    assert "claude /login" in detail["error"]
    # The turn has told already; the version comes from a check in the background.
    wait_for(lambda: stage.server.get("/health").json()["claude"]["version"], what="the check")
    assert stage.server.get("/health/ready").status_code == 503
    (reason,) = stage.server.get("/health/ready").json()["reasons"]
    for advice in ("claude /login`", "ANTHROPIC_API_KEY", "make demo"):
        assert advice in reason
    health = stage.server.get("/health").json()
    assert health["status"] == "healthy"
    assert health["claude"]["logged_in"] is False
    assert not stage.model.questions
