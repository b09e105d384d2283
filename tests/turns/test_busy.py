"""`on_busy`: what happens to a question while its project answers another one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.background import BackgroundCalls
from tests.contract.replies import ASK_PATHS, problem
from tests.fake_claude import overlaps
from tests.fakes import Fakes
from tests.serving import Client, Frame, Served, frames, wait_for
from tests.turns.raw_client import last_frame, question, turn_of

HANG = "[[hang]] first"


def running(client: Client, text: str = HANG, project: str = "p") -> str:
    """The id of a turn that runs with nobody reading it."""
    with client.stream(text, project, events=["status"]) as reply:
        return reply.headers["X-Turn-ID"]


def positions(seen: list[Frame]) -> list[int]:
    return [frame.data["position"] for frame in seen if frame.data.get("status") == "queued"]


def test_a_question_waits_for_the_one_before_it_and_knows_it(
    logged: Served, fakes: Fakes, background: BackgroundCalls
) -> None:
    first = background(logged.ask, "[[pause 500]] one")
    fakes.wait_asked()
    second = logged.ask("[[count]] two")
    assert first.result(10).json()["message"] == "You said: one"
    assert second.json()["message"] == "I see 2 questions: one | two"
    assert second.json()["session_id"] == first.result(1).json()["session_id"]
    assert second.json()["is_new_session"] is False
    assert overlaps(fakes.log) == []


@pytest.mark.parametrize("endpoint", ["ask", "streamed"])
def test_first_questions_that_race_share_one_session(
    endpoint: str, logged: Served, fakes: Fakes, background: BackgroundCalls
) -> None:
    calls = [background(getattr(logged, endpoint), f"[[count]] q{n}") for n in range(6)]
    replies = [call.result(20) for call in calls]
    ends = [reply.json() if endpoint == "ask" else last_frame(reply) for reply in replies]
    assert len({end["session_id"] for end in ends}) == 1
    assert sorted(end["is_new_session"] for end in ends) == [False] * 5 + [True]
    assert len(fakes.entries("start")) == 1
    assert fakes.entries("overlap") == []
    assert logged.get("/sessions").json()["count"] == 1


@pytest.mark.parametrize("path", ASK_PATHS)
def test_a_full_queue_refuses_and_says_when_to_come_again(
    path: str, serve: Callable[..., Served], background: BackgroundCalls
) -> None:
    served = serve(COWORK_QUEUE_LIMIT="2")
    first = running(served)
    waiting = [background(served.ask, f"q{n}") for n in range(2)]
    wait_for(lambda: served.get("/health").json()["turns"] == 3, what="a full queue")
    reply = served.post(path, question("too many"))
    problem(reply, 429, "queue_full")
    assert int(reply.headers["Retry-After"]) >= 1
    served.post(f"/turns/{first}/interrupt")
    assert [call.result(10).status_code for call in waiting] == [200, 200]
    assert served.ask("there is room again").status_code == 200


def test_a_queue_of_eight_is_the_default(served: Served, background: BackgroundCalls) -> None:
    first = running(served)
    asked = [background(served.ask, f"[[count]] q{n}") for n in range(10)]
    wait_for(lambda: sum(call.done() for call in asked) == 2, what="two refusals")
    assert sorted(call.result().status_code for call in asked if call.done()) == [429, 429]
    served.post(f"/turns/{first}/interrupt")
    assert sorted(call.result(20).status_code for call in asked) == [200] * 8 + [429] * 2


def test_a_queue_of_none_refuses_the_second_question(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_QUEUE_LIMIT="0")
    first = running(served)
    problem(served.ask("hi"), 429, "queue_full")
    served.post(f"/turns/{first}/interrupt")
    wait_for(lambda: served.ask("hi").status_code == 200, what="a free project")


@pytest.mark.parametrize("path", ASK_PATHS)
def test_a_question_that_does_not_want_to_wait_is_rejected_at_once(
    path: str, served: Served
) -> None:
    first = running(served)
    problem(served.post(path, question("hi", on_busy="reject")), 409, "project_busy")
    assert turn_of(served, first)["state"] == "running"
    assert served.ask("hi", "another project", on_busy="reject").status_code == 200
    served.post(f"/turns/{first}/interrupt")


def test_a_question_may_interrupt_the_one_before_it(logged: Served, fakes: Fakes) -> None:
    with logged.stream("[[stall]] [[words 9]] one") as first:
        reading = frames(first)
        for _ in range(3):
            next(reading)
        reply = logged.ask("[[count]] two", on_busy="interrupt")
        seen = list(reading)
    assert reply.json()["message"] == "I see 2 questions: one | two"
    assert seen[0].data["code"] == "turn_interrupted"
    assert last_frame(seen)["success"] is False
    assert turn_of(logged, first.headers["X-Turn-ID"])["state"] == "interrupted"
    assert len(fakes.entries("start")) == 1


def test_an_interrupting_question_goes_before_those_that_wait(logged: Served, fakes: Fakes) -> None:
    running(logged)
    with logged.stream("second", events=["status"]) as waiting:
        wait_for(lambda: len(fakes.asked) == 1, what="the first question")
        assert logged.ask("third", on_busy="interrupt").status_code == 200
        assert last_frame(list(frames(waiting)))["success"] is True
    assert fakes.asked == [HANG, "third", "second"]


def test_an_interrupting_question_has_nothing_to_interrupt_in_an_idle_project(
    served: Served,
) -> None:
    assert served.ask("hi", on_busy="interrupt").json()["message"] == "You said: hi"


def test_a_waiting_stream_tells_its_position_as_it_changes(served: Served) -> None:
    first = running(served)
    with (
        served.stream("second", events=["status"]) as second,
        served.stream("third", events=["status"]) as third,
        served.stream("fourth") as plain,
    ):
        served.post(f"/turns/{first}/interrupt")
        seen = [list(frames(reply)) for reply in (second, third, plain)]
    assert positions(seen[0])[0] == 1
    told = positions(seen[1])
    assert told[0] == 2
    assert told[-1] == 1
    assert told == sorted(told, reverse=True)
    assert positions(seen[2]) == []
    assert all(last_frame(each)["success"] for each in seen)


def test_a_waiting_stream_begins_at_once_and_is_kept_alive(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_KEEPALIVE="0.1", COWORK_FIRST_EVENT_WAIT="20")
    first = running(served)
    with served.stream("second") as reply:
        assert reply.status_code == 200
        lines = reply.iter_lines(chunk_size=1)
        assert [next(lines) for _ in range(3)] == [b": keep-alive"] * 3
        served.post(f"/turns/{first}/interrupt")
        assert b'data: {"type": "token"' in b"\n".join(lines)


def test_projects_do_not_wait_for_each_other(served: Served) -> None:
    first = running(served)
    assert served.ask("hi", "another").status_code == 200
    assert turn_of(served, first)["state"] == "running"
    served.post(f"/turns/{first}/interrupt")


def test_a_waiting_question_that_nobody_waits_for_makes_room_for_others(
    serve: Callable[..., Served], fakes: Fakes
) -> None:
    served = serve(**fakes.settings(), COWORK_DISCONNECT_GRACE="0.2", COWORK_QUEUE_LIMIT="1")
    with served.stream(HANG, events=["status"]) as first:
        with served.stream("abandoned", events=["status"]) as reply:
            abandoned = reply.headers["X-Turn-ID"]
        try:
            wait_for(
                lambda: turn_of(served, abandoned)["state"] == "interrupted",
                timeout=3,
                what="the end of a waiting turn that nobody reads",
            )
        finally:
            served.post(f"/turns/{first.headers['X-Turn-ID']}/interrupt")
    assert fakes.asked == [HANG]
