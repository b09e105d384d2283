"""`DELETE /sessions/{project_id}` while the project answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.background import BackgroundCalls
from tests.contract.replies import problem
from tests.fake_claude import Lifelines
from tests.fakes import Fakes
from tests.serving import Client, Served, frames, wait_for
from tests.turns.raw_client import last_frame, turn_of


def sessions(client: Client) -> dict[str, str]:
    found: dict[str, str] = client.get("/sessions").json()["sessions"]
    return found


def test_a_deletion_ends_the_running_turn_and_its_stream(logged: Served, fakes: Fakes) -> None:
    with logged.stream("[[words 500]] [[delay 20]] one") as reply:
        reading = frames(reply)
        next(reading)
        assert logged.delete("/sessions/p").json()["success"] is True
        seen = list(reading)
    assert seen[-2].data["code"] == "turn_interrupted"
    assert last_frame(seen)["success"] is False
    assert turn_of(logged, reply.headers["X-Turn-ID"])["state"] == "interrupted"
    assert sessions(logged) == {}
    wait_for(lambda: fakes.entries("exit"), what="the end of the session's process")
    assert sessions(logged) == {}


def test_nothing_brings_a_deleted_session_back(served: Served) -> None:
    old = served.ask("one").json()["session_id"]
    with served.stream("[[words 500]] [[delay 20]] two") as reply:
        next(frames(reply))
        served.delete("/sessions/p")
        new = served.ask("[[count]] three").json()
    assert new["message"] == "I see 1 questions: three"
    assert new["is_new_session"] is True
    assert "session_recovered" not in new
    assert new["session_id"] != old
    assert sessions(served) == {"p": new["session_id"]}


def test_a_deletion_ends_the_turns_that_wait_too(
    logged: Served, fakes: Fakes, background: BackgroundCalls
) -> None:
    first = background(logged.ask, "[[hang]] one")
    fakes.wait_asked()
    waiting = [background(logged.ask, f"waiting {n}") for n in range(3)]
    wait_for(lambda: logged.get("/health").json()["turns"] == 4, what="four turns")
    assert logged.delete("/sessions/p").json()["success"] is True
    for call in (first, *waiting):
        problem(call.result(10), 409, "turn_interrupted")
    assert len(fakes.asked) == 1
    assert sessions(logged) == {}


def test_a_deletion_before_the_first_answer_holds(logged: Served, fakes: Fakes) -> None:
    with logged.stream("[[hang]] one", events=["status"]) as reply:
        fakes.wait_asked()
        logged.delete("/sessions/p")
        assert last_frame(list(frames(reply)))["success"] is False
    assert sessions(logged) == {}
    assert logged.delete("/sessions/p").json()["success"] is False


def test_nothing_is_left_of_a_deleted_sessions_tools(
    serve: Callable[..., Served], fakes: Fakes, lifelines: Lifelines
) -> None:
    served = serve(**fakes.settings(), **lifelines.environment)
    with served.stream("[[tool 60]]", events=["tool"]):
        wait_for(lambda: fakes.entries("child"), what="the tool")
        served.delete("/sessions/p")
        assert lifelines.wait_for(0), lifelines.held


def test_a_deletion_and_another_in_the_middle_of_a_turn_leave_nothing_and_say_so(
    logged: Served, fakes: Fakes, background: BackgroundCalls, home: Path
) -> None:
    asked = background(logged.ask, "[[words 500]] [[delay 20]] one")
    fakes.wait_asked()
    calls = [background(logged.delete, "/sessions/p") for _ in range(4)]
    said = [call.result(20).json()["message"] for call in calls]
    assert "Session cleared for p" in said
    turn = asked.result(10).headers["X-Turn-ID"]
    problem(asked.result(10), 409, "turn_interrupted")
    assert turn_of(logged, turn)["message"] == ""
    assert logged.delete("/sessions/p").json() == {
        "success": False,
        "message": "No session found for p",
    }
    wait_for(lambda: not list(home.glob(".claude/projects/*/*.jsonl")), what="the end of its files")
    assert logged.services.store.removals() == []
