"""Sessions: one a project, one turn at a time, and gone when they are deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.background import BackgroundCalls
from tests.contract.replies import delete, is_uuid, problem
from tests.fake_claude import overlaps
from tests.fakes import Fakes
from tests.serving import Client, Served, frames, wait_for

Another = Callable[..., Client]


def test_a_session_is_new_once(served: Served) -> None:
    replies = [served.ask("hi").json() for _ in range(3)]
    assert [reply["is_new_session"] for reply in replies] == [True, False, False]
    assert len({reply["session_id"] for reply in replies}) == 1


def test_a_session_remembers(served: Served) -> None:
    served.ask("first")
    served.ask("other", "another project")
    assert served.ask("[[count]] second").json()["message"] == "I see 2 questions: first | second"


def test_sessions_are_listed_by_project(served: Served) -> None:
    assert served.get("/sessions").json() == {"sessions": {}, "count": 0}
    ids = {name: served.ask("hi", name).json()["session_id"] for name in ("a", "b/ü", "C")}
    assert served.get("/sessions").json() == {"sessions": ids, "count": 3}
    assert all(map(is_uuid, ids.values()))


@pytest.mark.parametrize("name", ["p", "a/b", "/lead", "a//b", "..", "ü 鍵", "%2F", "x/messages"])
def test_a_deleted_session_is_gone_and_the_next_one_is_new(served: Served, name: str) -> None:
    first = served.ask("remember me", name).json()["session_id"]
    reply = delete(served, name)
    assert reply.status_code == 200
    assert reply.json() == {"success": True, "message": f"Session cleared for {name}"}
    assert served.get("/sessions").json() == {"sessions": {}, "count": 0}
    again = served.ask("[[count]] hi", name).json()
    assert again["is_new_session"] is True
    assert again["session_id"] != first
    assert again["message"] == "I see 1 questions: hi"


@pytest.mark.parametrize("name", ["p", "a/b", "..", "ü"])
def test_an_absent_session_is_told_politely(served: Served, name: str) -> None:
    for _ in range(2):
        reply = delete(served, name)
        assert reply.status_code == 200
        assert reply.json() == {"success": False, "message": f"No session found for {name}"}


def test_a_delete_leaves_the_other_projects_alone(served: Served) -> None:
    kept = served.ask("hi", "a").json()["session_id"]
    served.ask("hi", "a/b")
    delete(served, "a/b")
    assert served.get("/sessions").json() == {"sessions": {"a": kept}, "count": 1}
    assert served.ask("hi", "a").json()["session_id"] == kept


def test_a_name_that_is_too_long_has_no_session(served: Served) -> None:
    reply = delete(served, "x" * 500)
    assert reply.status_code in {200, 422}
    if reply.status_code == 200:
        assert reply.json()["success"] is False


def test_a_delete_interrupts_the_turn_and_nothing_brings_the_session_back(
    logged: Served, fakes: Fakes, background: BackgroundCalls, another: Another
) -> None:
    old = logged.ask("hi").json()["session_id"]
    asked = background(another(logged).ask, "[[delay 50]] [[words 600]]")
    fakes.wait_asked(2)
    assert delete(logged, "p").json()["success"] is True
    problem(asked.result(), 409, "turn_interrupted")
    assert logged.get("/sessions").json() == {"sessions": {}, "count": 0}
    reply = logged.ask("[[count]] hi").json()
    assert reply["is_new_session"] is True
    assert reply["session_id"] != old
    assert reply["message"] == "I see 1 questions: hi"


def test_a_delete_ends_the_stream_of_the_turn(
    logged: Served, another: Another, fakes: Fakes
) -> None:
    with another(logged).stream("[[stall]] [[words 9]]") as reply:
        seen = frames(reply)
        first = next(seen)
        fakes.wait_asked()
        assert delete(logged, "p").json()["success"] is True
        *_, error, last = [first, *seen]
    assert error.data["code"] == "turn_interrupted"
    assert last.data["success"] is False
    assert logged.get("/sessions").json()["count"] == 0


def test_a_delete_during_the_very_first_turn_works_too(
    logged: Served, fakes: Fakes, background: BackgroundCalls, another: Another
) -> None:
    asked = background(another(logged).ask, "[[hang]]")
    fakes.wait_asked()
    delete(logged, "p")
    problem(asked.result(), 409, "turn_interrupted")
    assert logged.get("/sessions").json()["count"] == 0
    assert logged.ask("hi").json()["is_new_session"] is True


def test_two_first_questions_at_once_make_one_session(
    logged: Served, background: BackgroundCalls, another: Another
) -> None:
    asked = [background(another(logged).ask, f"[[pause 100]] number {n}") for n in range(2)]
    replies = [one.result() for one in asked]
    assert [reply.status_code for reply in replies] == [200, 200]
    assert sorted(reply.json()["message"] for reply in replies) == [
        "You said: number 0",
        "You said: number 1",
    ]
    assert len({reply.json()["session_id"] for reply in replies}) == 1
    assert sorted(reply.json()["is_new_session"] for reply in replies) == [False, True]
    assert logged.get("/sessions").json()["count"] == 1


def test_questions_to_one_project_never_overlap(
    logged: Served, fakes: Fakes, background: BackgroundCalls, another: Another
) -> None:
    asked = [background(another(logged).ask, f"[[pause 30]] number {n}") for n in range(4)]
    streams = [background(another(logged).streamed, f"[[pause 30]] stream {n}") for n in range(2)]
    assert {one.result().status_code for one in asked} == {200}
    assert all(one.result()[-1].data["success"] for one in streams)
    # The fake notes a turn when it has said its last word, which may be after we have heard it.
    wait_for(lambda: len(fakes.entries("turn")) == 6, what="the note of the last turn")
    assert overlaps(fakes.log) == []
    assert fakes.entries("overlap") == []
    assert logged.ask("[[count]] last").json()["message"].startswith("I see 7 questions: ")


def test_questions_to_two_projects_run_side_by_side(
    logged: Served, fakes: Fakes, background: BackgroundCalls, another: Another
) -> None:
    slow = background(another(logged).ask, "[[hang]]", "slow")
    fakes.wait_asked()
    assert logged.ask("[[words 2]]", "quick").json()["message"] == "w1 w2"
    delete(logged, "slow")
    slow.result()


def test_a_session_outlives_its_process(serve: Callable[..., Served], fakes: Fakes) -> None:
    served = serve(COWORK_IDLE_TIMEOUT="0.2", **fakes.settings())
    first = served.ask("first").json()
    wait_for(lambda: fakes.entries("exit"), what="the end of the idle process")
    reply = served.ask("[[count]] second").json()
    assert reply["session_id"] == first["session_id"]
    assert reply["is_new_session"] is False
    assert reply["message"] == "I see 2 questions: first | second"
    assert len(fakes.entries("start")) == 2


def test_a_session_whose_first_turn_failed_can_be_asked_again(served: Served) -> None:
    assert served.ask("[[die]] [[words 9]]").status_code == 502
    assert served.ask("[[words 2]]").json()["message"] == "w1 w2"
    assert served.get("/sessions").json()["count"] == 1


def test_a_refused_question_makes_no_session(served: Served) -> None:
    served.ask("")
    served.ask("hi", agent_type="no-such-skill")
    assert json.loads(served.get("/sessions").text)["count"] == 0


def test_a_project_name_leads_to_no_folder_of_its_choice(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    served = serve(COWORK_PROJECT_DIRS="true")
    folders = set()
    for name in ("..", "../../x", "/etc", "a/b", "a//b", "A/b", "."):
        reply = served.ask("[[cwd]]", name)
        assert reply.status_code == 200, reply.text
        folder = Path(reply.json()["message"]).resolve()
        assert folder.is_relative_to((tmp_path / "workspace").resolve()), (name, folder)
        folders.add(folder)
    assert len(folders) == 7
