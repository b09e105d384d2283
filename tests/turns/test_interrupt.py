"""Interrupting a turn, whatever it is doing: its text is kept and its process lives on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.background import BackgroundCalls
from tests.contract.replies import problem
from tests.fake_claude import Lifelines
from tests.fakes import Fakes
from tests.serving import Client, Frame, Served, frames, wait_for
from tests.turns.raw_client import last_frame, turn_of
from tests.upstream import Upstream

KINDS = ["tool", "thinking", "status"]
# What the turn is doing, and the frame that tells that it has begun.
ACTS = {
    "text": ("[[words 500]] [[delay 20]]", "token"),
    "thinking": ("[[think 500]] [[delay 20]]", "thinking"),
    "tool": ("[[tool 60]]", "tool_use"),
    "retry": ("[[retry 9 20000]]", "api_retry"),
    "silence": ("[[hang]]", "requesting"),
}
PATIENCE_S = 2.0


def until(reading: Iterator[Frame], kind: str) -> list[Frame]:
    """Read until a frame of that type, or status, came."""
    seen = []
    for frame in reading:
        seen.append(frame)
        if kind in (frame.data.get("type"), frame.data.get("status")):
            return seen
    raise AssertionError(f"no {kind} among {seen}")


def interrupt(client: Client, turn_id: str) -> dict[str, object]:
    reply = client.post(f"/turns/{turn_id}/interrupt")
    assert reply.status_code == 200, reply.text
    body: dict[str, object] = reply.json()
    return body


@pytest.mark.parametrize("by", ["turn", "project"])
@pytest.mark.parametrize("act", ACTS)
def test_a_turn_ends_with_its_frame_and_its_process_answers_the_next_question(
    act: str, by: str, logged: Served, fakes: Fakes
) -> None:
    text, kind = ACTS[act]
    with logged.stream(f"{text} one", events=KINDS) as reply:
        turn_id = reply.headers["X-Turn-ID"]
        reading = frames(reply)
        until(reading, kind)
        if act == "tool":
            wait_for(lambda: fakes.entries("child"), what="the tool's process")
        path = f"/turns/{turn_id}/interrupt" if by == "turn" else "/sessions/p/interrupt"
        begun = time.monotonic()
        said = logged.post(path).json()
        rest = list(reading)
        took = time.monotonic() - begun
    assert said["success"] is True
    assert said["turn_id"] == turn_id
    assert said["state"] == "interrupted"
    assert rest[-2].data["type"] == "error"
    assert rest[-2].data["code"] == "turn_interrupted"
    assert last_frame(rest)["success"] is False
    assert took < PATIENCE_S
    assert logged.ask("[[count]] two").json()["message"] == "I see 2 questions: one | two"
    assert len(fakes.entries("start")) == 1


def test_the_last_frame_follows_the_interrupt_in_a_moment(served: Served) -> None:
    took = []
    for _ in range(5):
        with served.stream("[[words 500]] [[delay 20]]") as reply:
            reading = frames(reply)
            next(reading)
            begun = time.monotonic()
            interrupt(served, reply.headers["X-Turn-ID"])
            list(reading)
            took.append(time.monotonic() - begun)
    assert sorted(took)[2] < 0.2, took


def test_interrupting_twice_is_once(served: Served, background: BackgroundCalls) -> None:
    with served.stream("[[words 500]] [[delay 20]]") as reply:
        turn_id = reply.headers["X-Turn-ID"]
        next(frames(reply))
        calls = [background(interrupt, served, turn_id) for _ in range(4)]
        assert {call.result(10)["state"] for call in calls} == {"interrupted"}
    ended = turn_of(served, turn_id)
    assert interrupt(served, turn_id)["state"] == "interrupted"
    assert turn_of(served, turn_id) == ended
    assert served.post("/sessions/p/interrupt").json()["success"] is False


def test_a_turn_that_has_ended_stays_as_it_is(served: Served) -> None:
    turn_id = served.ask("hi").headers["X-Turn-ID"]
    assert interrupt(served, turn_id)["state"] == "succeeded"
    assert turn_of(served, turn_id)["message"] == "You said: hi"
    assert served.ask("again").status_code == 200


def test_a_turn_that_waits_leaves_the_queue_at_once(logged: Served, fakes: Fakes) -> None:
    with (
        logged.stream("[[hang]] one", events=["status"]) as first,
        logged.stream("two", events=["status"]) as second,
    ):
        fakes.wait_asked()
        assert interrupt(logged, second.headers["X-Turn-ID"])["state"] == "interrupted"
        seen = list(frames(second))
        assert [frame.data.get("code") for frame in seen[-2:]] == ["turn_interrupted", None]
        assert last_frame(seen)["success"] is False
        assert turn_of(logged, first.headers["X-Turn-ID"])["state"] == "running"
        interrupt(logged, first.headers["X-Turn-ID"])
    assert logged.ask("[[count]] three").json()["message"] == "I see 2 questions: one | three"


def test_the_client_of_a_whole_answer_is_told(
    logged: Served, fakes: Fakes, background: BackgroundCalls
) -> None:
    call = background(logged.ask, "[[words 500]] [[delay 20]]")
    fakes.wait_asked()
    assert logged.post("/sessions/p/interrupt").json()["success"] is True
    reply = call.result(10)
    problem(reply, 409, "turn_interrupted")
    assert turn_of(logged, reply.headers["X-Turn-ID"])["state"] == "interrupted"


def test_interrupting_an_idle_or_unknown_project_is_no_error(served: Served) -> None:
    for project in ("p", "a%2Fb", "nobody"):
        reply = served.post(f"/sessions/{project}/interrupt")
        assert reply.status_code == 200
        assert reply.json()["success"] is False


def test_the_text_before_is_kept_in_the_log_the_session_and_the_history(
    serve: Callable[..., Served], upstream: Upstream
) -> None:
    served = serve(CHAT_API_BASE_URL=upstream.url)
    with served.stream("[[stall]] [[words 9]] one") as reply:
        turn_id = reply.headers["X-Turn-ID"]
        reading = frames(reply)
        for _ in range(3):
            next(reading)
        interrupt(served, turn_id)
        assert last_frame(list(reading))["success"] is False
    assert turn_of(served, turn_id)["message"] == "w1 w2 w3 "
    wait_for(lambda: len(upstream.messages) == 2, what="both messages")
    asked, answered = upstream.messages
    assert asked["message"] == "[[stall]] [[words 9]] one"
    assert "status" not in asked
    assert answered["message"] == "w1 w2 w3 "
    assert answered["status"] == "partial"
    assert answered["type"] == "agent"
    kept = list(served.services.settings.workspace.parent.glob("home/.claude/projects/*/*.jsonl"))
    assert any("w1 w2 w3" in transcript.read_text() for transcript in kept)


def test_a_whole_answer_has_no_status_in_the_history(
    serve: Callable[..., Served], upstream: Upstream
) -> None:
    served = serve(CHAT_API_BASE_URL=upstream.url)
    served.ask("hi")
    wait_for(lambda: len(upstream.messages) == 2, what="both messages")
    assert all("status" not in message for message in upstream.messages)


def test_a_process_that_does_not_react_is_ended(
    serve: Callable[..., Served], fakes: Fakes, lifelines: Lifelines
) -> None:
    served = serve(**fakes.settings(), **lifelines.environment, COWORK_FIRST_EVENT_WAIT="0.1")
    with served.stream("[[deaf]] one") as reply:
        wait_for(lambda: fakes.entries("deaf"), what="the fake's deafness")
        begun = time.monotonic()
        interrupt(served, reply.headers["X-Turn-ID"])
        assert last_frame(list(frames(reply)))["success"] is False
        assert time.monotonic() - begun < PATIENCE_S + 1
    served.close()
    assert lifelines.wait_for(0)
