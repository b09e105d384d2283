"""T10: to another key what is mine is not there, whatever is said in a body."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.replies import problem
from tests.fakes import Fakes
from tests.serving import Client, Served, frames

MINE, YOURS = "m" * 40, "y" * 40
SECRET = "a word of mine alone"


@pytest.fixture
def served(serve: Callable[..., Served], fakes: Fakes) -> Served:
    return serve(COWORK_API_KEYS=f"me={MINE},you={YOURS}", **fakes.settings())


def test_t10_a_session_and_its_turns_are_not_there_for_another(
    served: Served, another: Callable[..., Client], fakes: Fakes
) -> None:
    me, you = another(served, MINE), another(served, YOURS)
    first = me.ask(f"[[say {SECRET}]]", "shared", user_id="me")
    turn = first.json()["turn_id"]
    heard = []
    for path in (f"/turns/{turn}", f"/turns/{turn}/events", f"/turns/{turn}/events?after=0"):
        reply = you.get(path)
        problem(reply, 404, "turn_not_found")
        heard.append(reply.text)
    resumed = you.get(f"/turns/{turn}/events", headers={"Last-Event-ID": f"{turn}.1"})
    problem(resumed, 404, "turn_not_found")
    problem(you.post(f"/turns/{turn}/interrupt"), 404, "turn_not_found")
    # The name of another in the body, its project, its session and turn ids: mere words.
    theirs = {
        "user_id": "me",
        "session_id": first.json()["session_id"],
        "turn_id": turn,
        "owner": "me",
    }
    reply = you.ask("[[count]] hi", "shared", **theirs)
    assert reply.json()["message"].startswith("I see 1 questions")
    assert reply.json()["session_id"] != first.json()["session_id"]
    heard += [reply.text, you.get("/sessions").text, you.get("/processes").text]
    assert first.json()["session_id"] not in "".join(heard)
    assert SECRET not in "".join(heard)
    assert you.delete("/sessions/shared").json()["success"] is True
    again = me.ask("[[count]] again", "shared").json()
    assert again["message"].startswith("I see 2 questions")
    assert len({entry["pid"] for entry in fakes.entries("start")}) >= 2


def test_t10_a_running_turn_is_its_owners_to_interrupt(
    served: Served, another: Callable[..., Client]
) -> None:
    me, you = another(served, MINE), another(served, YOURS)
    with me.stream("[[stall]]", "shared") as stream:
        turn = stream.headers["X-Turn-ID"]
        assert you.post("/sessions/shared/interrupt").json()["success"] is False
        problem(you.post(f"/turns/{turn}/interrupt"), 404, "turn_not_found")
        assert me.get(f"/turns/{turn}").json()["state"] == "running"
        assert me.post("/sessions/shared/interrupt").json()["success"] is True
        assert list(frames(stream))[-1].data["success"] is False


def test_t10_what_another_spent_and_on_what_is_an_operators_alone_to_see(
    served: Served, another: Callable[..., Client]
) -> None:
    me, you = another(served, MINE), another(served, YOURS)
    assert me.ask("hi", SECRET).status_code == 200
    for by in ("day", "project", "key", "model"):
        mine = me.get(f"/usage?by={by}").json()
        assert (mine["count"], mine["total"]["turns"]) == (1, 1)
        for more in ("", "&owner=me&key=me&project=shared", "&by=key"):
            # With two names of keys and no COWORK_ADMIN_KEYS nobody is an operator.
            yours = you.get(f"/usage?by={by}{more}", headers={"X-Cowork-Project": SECRET})
            assert yours.json()["usage"] == []
            assert SECRET not in yours.text
    assert served.get("/usage").status_code == 401
