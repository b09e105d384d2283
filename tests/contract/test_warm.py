"""`POST /sessions/{project_id}/warm` and `GET /processes`: processes before and between questions."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
import requests

from tests.background import BackgroundCalls
from tests.contract.replies import problem
from tests.fakes import Fakes
from tests.serving import Client, Served, wait_for

KEYS = {"a": "a" * 32, "b": "b" * 32}


def warm(served: Client, project: str = "p") -> requests.Response:
    return served.post(f"/sessions/{quote(project, safe='')}/warm")


def listed(served: Client) -> list[dict]:
    reply = served.get("/processes")
    assert reply.status_code == 200, reply.text
    assert reply.json()["count"] == len(reply.json()["processes"])
    return reply.json()["processes"]


def states(served: Client) -> dict[str | None, str]:
    return {each["project"]: each["state"] for each in listed(served)}


def wait_idle(served: Client, project: str = "p") -> None:
    wait_for(lambda: states(served).get(project) == "idle", what="an idle process")


def test_a_warmed_project_is_answered_by_the_process_that_was_made_for_it(
    logged: Served, fakes: Fakes
) -> None:
    reply = warm(logged)
    assert reply.status_code == 204
    assert reply.content == b""
    (ready,) = listed(logged)
    assert (ready["project"], ready["state"], ready["turns"]) == ("p", "idle", 0)
    assert ready["last_used"] is None
    said = logged.ask("[[count]] one").json()
    assert said["message"] == "I see 1 questions: one"
    assert said["is_new_session"] is True
    (start,) = fakes.entries("start")
    assert (start["pid"], start["session"]) == (ready["pid"], said["session_id"])


def test_a_project_that_was_only_warmed_has_no_session(served: Served) -> None:
    warm(served)
    assert served.get("/sessions").json() == {"sessions": {}, "count": 0}
    assert served.get("/health").json()["active_sessions"] == 0
    reply = served.delete("/sessions/p").json()
    assert reply["success"] is False
    assert listed(served) == []


def test_warming_twice_is_warming_once(
    logged: Served, fakes: Fakes, background: BackgroundCalls
) -> None:
    calls = [
        background(requests.post, f"{logged.url}/sessions/p/warm", timeout=20) for _ in range(5)
    ]
    assert {call.result().status_code for call in calls} == {204}
    logged.ask("one")
    assert warm(logged).status_code == 204
    assert len(fakes.entries("start")) == 1


def test_a_question_that_comes_while_its_project_is_warmed_waits_for_that_process(
    serve: Callable[..., Served], fakes: Fakes, background: BackgroundCalls
) -> None:
    served = serve(**fakes.settings(start="slow:500"))
    warming = background(requests.post, f"{served.url}/sessions/p/warm", timeout=20)
    wait_for(lambda: fakes.entries("start"), what="the start")
    assert states(served) == {"p": "starting"}
    assert served.ask("one").status_code == 200
    assert warming.result().status_code == 204
    assert len(fakes.entries("start")) == 1


def test_a_session_whose_process_is_gone_is_resumed_by_warming(
    logged: Served, fakes: Fakes
) -> None:
    first = logged.ask("one").json()
    wait_idle(logged)
    os.kill(fakes.entries("start")[0]["pid"], signal.SIGKILL)
    wait_for(lambda: warm(logged).status_code == 204 and len(fakes.entries("start")) == 2)
    argv = fakes.entries("start")[1]["argv"]
    assert f"--resume={first['session_id']}" in argv
    said = logged.ask("[[count]] two").json()
    assert said["message"] == "I see 2 questions: one | two"
    assert said["session_id"] == first["session_id"]
    assert len(fakes.entries("start")) == 2


def test_warming_a_busy_project_does_nothing(
    logged: Served, fakes: Fakes, background: BackgroundCalls
) -> None:
    asking = background(logged.ask, "[[hang]]")
    fakes.wait_asked()
    assert requests.post(f"{logged.url}/sessions/p/warm", timeout=20).status_code == 204
    assert len(fakes.entries("start")) == 1
    requests.post(f"{logged.url}/sessions/p/interrupt", json={}, timeout=20)
    problem(asking.result(), 409, "turn_interrupted")


def test_a_session_that_was_lost_is_warmed_for_a_new_one(
    serve: Callable[..., Served], fakes: Fakes, home
) -> None:
    served = serve(**fakes.settings(), COWORK_PROCESS_MAX_TURNS="1")
    served.ask("one")
    wait_for(lambda: listed(served) == [], what="the end of the process")
    for transcript in home.glob(".claude/projects/*/*.jsonl"):
        transcript.unlink()
    assert warm(served).status_code == 204
    said = served.ask("[[count]] two").json()
    assert said["message"] == "I see 1 questions: two"
    assert said["session_recovered"] is True
    # The first, a try to resume it, the one that was readied, and the turn's own try.
    assert len(fakes.entries("start")) == 4


def test_a_warmed_process_goes_like_any_idle_one(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_IDLE_TIMEOUT="0.3")
    warm(served)
    wait_for(lambda: listed(served) == [], what="its end")
    served = serve(COWORK_MAX_PROCESSES="1")
    warm(served, "a")
    warm(served, "b")
    assert states(served) == {"b": "idle"}


@pytest.mark.parametrize("name", ["a/b", "x/warm", "/lead", "ü €", "a%2Fb", "?x=1"])
def test_any_project_can_be_warmed_and_deleted(served: Served, name: str) -> None:
    assert warm(served, name).status_code == 204
    assert states(served) == {name: "idle"}
    served.ask("one", name)
    assert served.delete(f"/sessions/{quote(name, safe='')}").json()["success"] is True
    assert listed(served) == []


def test_what_is_no_name_is_refused(served: Served) -> None:
    reply = warm(served, "a\nb")
    assert reply.status_code == 422
    assert reply.json()["detail"][0]["loc"] == ["path", "project_id"]


def test_no_process_in_time_is_told_as_it_is_to_a_question(
    serve: Callable[..., Served], fakes: Fakes, background: BackgroundCalls
) -> None:
    served = serve(**fakes.settings(), COWORK_MAX_PROCESSES="1", COWORK_QUEUE_TIMEOUT="0.2")
    asking = background(served.ask, "[[hang]]")
    fakes.wait_asked()
    reply = requests.post(f"{served.url}/sessions/q/warm", timeout=20)
    problem(reply, 503, "at_capacity")
    assert int(reply.headers["Retry-After"]) > 0
    requests.post(f"{served.url}/sessions/p/interrupt", json={}, timeout=20)
    asking.result()


def test_a_cli_that_is_missing_is_told(serve: Callable[..., Served]) -> None:
    problem(warm(serve(CLAUDE_CLI_PATH="/nonexistent/claude")), 503, "claude_unavailable")


def test_a_server_that_drains_warms_nothing(served: Served) -> None:
    served.services.drain(0.0)
    problem(warm(served), 503, "shutting_down")
    assert listed(served) == []


# -- the list


def test_the_list_tells_what_each_process_is_and_takes(served: Served) -> None:
    assert listed(served) == []
    served.ask("one")
    served.ask("two")
    wait_idle(served)
    (found,) = listed(served)
    assert found.keys() == {
        "id",
        "pid",
        "project",
        "state",
        "age_seconds",
        "turns",
        "memory_bytes",
        "last_used",
    }
    assert found["turns"] == 2
    assert found["age_seconds"] > 0
    assert found["memory_bytes"] > 2**20
    used = datetime.fromisoformat(found["last_used"])
    assert 0 <= (datetime.now(UTC) - used).total_seconds() < 30


def test_a_process_shows_as_busy_while_it_answers(
    logged: Served, fakes: Fakes, background: BackgroundCalls, another
) -> None:
    asking = background(logged.ask, "[[hang]]")
    fakes.wait_asked()
    assert states(another(logged)) == {"p": "busy"}
    another(logged).post("/sessions/p/interrupt", {})
    asking.result()
    wait_idle(logged)


def test_a_spare_is_listed_as_nobodys(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_SPARE_PROCESSES="1", COWORK_MAX_PROCESSES="3")
    wait_for(lambda: states(served) == {None: "spare"}, what="the spare")
    counts = served.get("/health").json()["processes"]
    assert counts == {"busy": 0, "idle": 0, "spare": 1, "starting": 0, "limit": 3}
    (spare,) = listed(served)
    assert warm(served).status_code == 204
    ready = next(each for each in listed(served) if each["project"] == "p")
    assert ready["pid"] == spare["pid"]


def test_another_callers_processes_are_not_there(
    serve: Callable[..., Served], another: Callable[..., Client]
) -> None:
    served = serve(COWORK_API_KEYS=",".join(f"{name}={key}" for name, key in KEYS.items()))
    mine, other = (another(served, key) for key in KEYS.values())
    mine.ask("one", "mine")
    other.ask("one", "other")
    wait_idle(mine, "mine")
    assert states(mine) == {"mine": "idle"}
    assert other.post("/sessions/mine/warm").status_code == 204
    assert set(states(other)) == {"mine", "other"}
    assert states(mine) == {"mine": "idle"}


# -- recycling


def test_a_process_is_replaced_after_so_many_turns(
    serve: Callable[..., Served], fakes: Fakes
) -> None:
    served = serve(**fakes.settings(), COWORK_PROCESS_MAX_TURNS="2")
    for number in range(1, 6):
        said = served.ask(f"[[count]] q{number}").json()
        assert said["message"].startswith(f"I see {number} questions")
    assert len(fakes.entries("start")) == 3


def test_a_process_that_takes_too_much_is_replaced_between_turns(
    serve: Callable[..., Served], fakes: Fakes
) -> None:
    # The fake takes more than a megabyte, whatever it does.
    served = serve(**fakes.settings(), COWORK_PROCESS_MEMORY_MB="1", COWORK_IDLE_TIMEOUT="2")
    first = served.ask("[[count]] one").json()
    wait_for(lambda: listed(served) == [], what="its end")
    said = served.ask("[[count]] two").json()
    assert said["message"] == "I see 2 questions: one | two"
    assert said["session_id"] == first["session_id"]


def test_a_project_is_warmed_for_what_its_question_will_have(
    serve: Callable[..., Served], fakes: Fakes
) -> None:
    served = serve(**fakes.settings(), COWORK_APPROVALS="optional")
    wanted = {"approvals": True, "events": ["todo", "tool"]}
    assert served.post("/sessions/p/warm", wanted).status_code == 204
    assert served.ask("[[count]] one", **wanted).json()["message"] == "I see 1 questions: one"
    assert len(fakes.entries("start")) == 1
    for wrong in ({"approvals": "yes"}, {"events": ["nothing"]}):
        assert served.post("/sessions/q/warm", wrong).status_code == 422
    off = serve(COWORK_APPROVALS="off")
    assert off.post("/sessions/p/warm", {"approvals": True}).status_code == 422
