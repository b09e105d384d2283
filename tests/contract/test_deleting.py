"""`DELETE /sessions/{project_id}` leaves nothing of what was said, in every store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.replies import problem
from tests.fakes import Fakes
from tests.serving import Served, frames, wait_for
from tests.turns.raw_client import question

SECRET = "zephyr-quartz"
KEY = {"Idempotency-Key": "k-1"}
Serve = Callable[..., Served]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    if request.param == "redis":
        return {"COWORK_STORE": request.getfixturevalue("redis_server").url}
    if request.param == "sqlite":
        return {"COWORK_STORE": f"sqlite://{tmp_path}/state/cowork.db"}
    return {}


@pytest.fixture
def served(serve: Serve, stored: dict[str, str], fakes: Fakes) -> Served:
    return serve(**stored, **fakes.settings())


def transcripts(home: Path) -> list[str]:
    return sorted(path.stem for path in (home / ".claude").glob("projects/*/*.jsonl"))


def asked(served: Served, project: str, **headers: str) -> dict[str, str]:
    body = {**question(f"[[say {SECRET}]]"), "project_name": project}
    reply = served.post("/ask_question", body, headers=headers or None)
    assert reply.status_code == 200, reply.text
    found: dict[str, str] = reply.json()
    return found


def test_turns_that_have_ended_are_gone_as_if_expired_and_their_keys_ask_anew(
    served: Served, home: Path, fakes: Fakes
) -> None:
    mine, other = asked(served, "p", **KEY), asked(served, "other")
    reply = served.delete("/sessions/p")
    assert reply.json() == {"success": True, "message": "Session cleared for p"}
    for path in (f"/turns/{mine['turn_id']}", f"/turns/{mine['turn_id']}/events"):
        gone = served.get(path)
        problem(gone, 410, "turn_expired")
        assert SECRET not in gone.text
    assert served.get(f"/turns/{other['turn_id']}").json()["message"] == SECRET
    wait_for(lambda: transcripts(home) == [other["session_id"]], what="the end of its files")
    again = asked(served, "p", **KEY)
    assert again["turn_id"] != mine["turn_id"]
    assert again["is_new_session"] is True
    assert len(fakes.asked) == 3


def test_a_restart_brings_no_turn_of_a_deleted_session_back(
    serve: Serve, served: Served, stored: dict[str, str], fakes: Fakes
) -> None:
    mine, other = asked(served, "p", **KEY), asked(served, "other")
    served.delete("/sessions/p")
    if not stored:
        pytest.skip("memory:// forgets everything at a restart")
    served.close()
    again = serve(**stored, **fakes.settings())
    problem(again.get(f"/turns/{mine['turn_id']}"), 404, "turn_not_found")
    assert again.get(f"/turns/{other['turn_id']}").json()["message"] == SECRET
    assert again.services.store.removals() == []


def test_of_a_turn_that_a_deletion_ends_only_its_end_is_kept(
    serve: Serve, served: Served, stored: dict[str, str], home: Path, fakes: Fakes
) -> None:
    body = question(f"[[words 500]] [[delay 20]] {SECRET}")
    with served.post("/ask_question_streaming", body, headers=KEY, stream=True) as reply:
        turn = reply.headers["X-Turn-ID"]
        reading = frames(reply)
        assert "token" in next(reading).data
        assert served.delete("/sessions/p").json()["success"] is True
        assert list(reading)[-1].data["done"] is True
    wait_for(lambda: transcripts(home) == [], what="the end of its files")

    def told(by: Served) -> None:
        kept = by.get(f"/turns/{turn}").json()
        assert (kept["state"], kept["message"]) == ("interrupted", "")
        assert kept["error"]["code"] == "turn_interrupted"
        events = list(frames(by.get(f"/turns/{turn}/events", stream=True)))
        assert [each.data.get("code") for each in events[:-1]] == ["turn_interrupted"]
        # A retry asks nothing, since somebody wanted it to end.
        problem(by.post("/ask_question_streaming", body, headers=KEY), 409, "turn_interrupted")

    wait_for(lambda: served.get(f"/turns/{turn}").json()["message"] == "", what="its readers' end")
    told(served)
    if stored:
        served.close()
        told(serve(**stored, **fakes.settings()))
    assert len(fakes.asked) == 1


def test_what_could_not_be_removed_is_removed_by_the_next_start(
    serve: Serve, served: Served, stored: dict[str, str], home: Path, fakes: Fakes
) -> None:
    session_id = asked(served, "p")["session_id"]
    projects = home / ".claude" / "projects"
    projects.rename(home / "elsewhere")
    projects.symlink_to(home / "elsewhere")
    assert served.delete("/sessions/p").json()["success"] is True
    assert served.delete("/sessions/p").json()["success"] is False
    assert transcripts(home) == [session_id]
    projects.unlink()
    (home / "elsewhere").rename(projects)
    assert served.services.store.removals() == [session_id]
    served.close()
    if stored:
        serve(**stored, **fakes.settings())
        wait_for(lambda: transcripts(home) == [], what="the end of its files")


def test_the_workspace_stays(served: Served, tmp_path: Path) -> None:
    asked(served, "p")
    (tmp_path / "workspace" / "mine.txt").write_text("mine")
    served.delete("/sessions/p")
    assert (tmp_path / "workspace" / "mine.txt").read_text() == "mine"
