"""Interrupting a turn of the real CLI, whatever it is at."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial

import pytest

from cowork.demo.model import Model
from tests.background import BackgroundCalls
from tests.contract.replies import problem
from tests.e2e.environment import Stage, Timed, at_long_tool, long_tool, open_stage, timed
from tests.serving import Client, wait_for

pytestmark = pytest.mark.e2e

ROUNDS = 3
# The promise; a shared CI machine may need several times as long for anything.
LAST_FRAME_S = 1.0 if os.environ.get("CI") else 0.2
EVENTS = ["status", "thinking", "tool"]


@pytest.fixture(scope="module")
def stage(real_claude: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server whose CLI tries a failing service again for minutes."""
    folder = tmp_path_factory.mktemp("stage")
    with open_stage(folder, real_claude, COWORK_CLI_RETRIES="10") as opened:
        # The user's own settings let the tool run that is to be interrupted.
        (opened.config / "settings.json").write_text('{"permissions": {"allow": ["Bash"]}}')
        yield opened


def writing(stage: Stage) -> bool:
    # More than are looked for afterwards: the CLI reads a word a moment after it was written.
    return len(stage.model.words_written[-1]) >= 10


def thinking(stage: Stage) -> bool:
    # No word is written, and the answer is under way for longer than the first thoughts take.
    latest = stage.model.exchanges[-1]
    return latest.ending == "running" and time.monotonic() - latest.at > 0.1


def at_a_tool(stage: Stage) -> bool:
    return bool(at_long_tool(stage, 60))


def trying_again(stage: Stage) -> bool:
    return stage.model.exchanges[-1].status == 529


SCENES: dict[str, tuple[str, Callable[[Stage], bool], str]] = {
    "in mid-text": ("[[words 900]] [[delay 20]]", writing, "word1 word2 word3"),
    "while thinking": ("[[think 900]] [[delay 20]] [[words 3]]", thinking, ""),
    "in a tool": (long_tool(60), at_a_tool, "I will use Bash."),
    "in a retry": ("[[status 529]]", trying_again, ""),
}


def interrupted(
    stage: Stage, project: str, ask: Callable[[], Future[Timed]], ready: Callable[[Stage], bool]
) -> tuple[Timed, float]:
    """A stream that was interrupted when `ready`, and the seconds until its last frame."""
    before = len(stage.model.exchanges)
    reading = ask()
    wait_for(lambda: len(stage.model.exchanges) > before and ready(stage), what="the moment")
    begun = time.monotonic()
    reply = stage.server.post(f"/sessions/{project}/interrupt")
    assert reply.json()["state"] == "interrupted", reply.text
    seen = reading.result()
    return seen, seen.at[-1] - begun


def remembered(model: Model) -> str:
    """What the model was shown of the conversation in its latest request."""
    return json.dumps(model.requests[-1]["messages"])


@pytest.mark.parametrize("scene", SCENES)
def test_a_turn_ends_at_once_and_its_process_goes_on(
    stage: Stage, background: BackgroundCalls, another: Callable[..., Client], scene: str
) -> None:
    question, ready, kept = SCENES[scene]
    project = scene.replace(" ", "-")
    session = stage.server.ask("[[say one]] alpha", project).json()["session_id"]
    process = stage.cli(session)
    reader = another(stage.server.url)
    took: list[float] = []
    for number in range(ROUNDS):
        asked = partial(background, timed, reader, f"{question} nr{number}", project, events=EVENTS)
        seen, seconds = interrupted(stage, project, asked, ready)
        took.append(seconds)
        error = seen.frames[-2].data
        assert (error["type"], error["code"]) == ("error", "turn_interrupted")
        assert seen.last["success"] is False
        assert seen.last["session_id"] == session

        after = stage.server.ask("[[say still here]]", project)
        assert after.json()["message"] == "still here"
        assert after.json()["session_id"] == session
        assert stage.cli(session) == process
        assert kept in remembered(stage.model)
        assert f"nr{number}" in remembered(stage.model)
    assert statistics.median(took) < LAST_FRAME_S, took
    wait_for(lambda: not at_a_tool(stage), what="the end of the tool")


def test_a_turn_that_waits_ends_at_once_and_the_one_before_it_is_not_disturbed(
    stage: Stage, background: BackgroundCalls, another: Callable[..., Client]
) -> None:
    stage.answers_again("queue")
    first = "[[words 60]] [[delay 20]] the first"
    running = background(another(stage.server.url).streamed, first, "queue")
    stage.wait_words(first)
    with stage.server.stream("[[say never]] unheard", "queue") as waiting:
        turn = waiting.headers["X-Turn-ID"]
        begun = time.monotonic()
        reply = another(stage.server.url).post(f"/turns/{turn}/interrupt")
        assert reply.json()["state"] == "interrupted"
        text = waiting.content.decode()
        assert time.monotonic() - begun < LAST_FRAME_S
    assert "turn_interrupted" in text
    assert json.loads(text.rpartition("data: ")[2])["done"] is True
    last = running.result()[-1].data
    assert last["success"] is True
    stage.answers_again("queue")
    assert "unheard" not in remembered(stage.model)


def test_a_whole_reply_that_is_interrupted_is_a_409(
    stage: Stage, background: BackgroundCalls, another: Callable[..., Client]
) -> None:
    question = "[[words 900]] [[delay 20]] whole"
    asked = background(another(stage.server.url).ask, question, "whole")
    stage.wait_words(question)
    stage.server.post("/sessions/whole/interrupt")
    problem(asked.result(), 409, "turn_interrupted")
    stage.answers_again("whole")
    assert "word1 word2 word3" in remembered(stage.model)


def test_a_question_may_interrupt_the_one_before_it(
    stage: Stage, background: BackgroundCalls, another: Callable[..., Client]
) -> None:
    question = "[[words 900]] [[delay 20]] first"
    first = background(another(stage.server.url).streamed, question, "either")
    stage.wait_words(question)
    reply = stage.server.ask("[[say mine]]", "either", on_busy="interrupt")
    assert reply.json()["message"] == "mine"
    *_, error, last = (frame.data for frame in first.result())
    assert error["code"] == "turn_interrupted"
    assert last["success"] is False
    assert "word1 word2 word3" in remembered(stage.model)
