"""Something is said to a turn, from the worker that runs it, its sister, and another machine's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.background import BackgroundCalls
from tests.serving import Client, Gunicorn, joined, wait_for
from tests.workers.places import Places, begun

TOOL = "[[tool 1.5]] x"
SAID = "[[say steered]]"


def steers(server: Client, turn: str) -> list[tuple[str, str]]:
    told = server.get(f"/turns/{turn}").json().get("steers", [])
    return [(each["state"], each["turn_id"]) for each in told]


def steer(server: Client, turn: str, text: str = SAID, **headers: str) -> dict[str, Any]:
    reply = server.post(f"/turns/{turn}/steer", {"text": text}, headers=headers)
    assert reply.status_code == 202, reply.text
    found: dict[str, Any] = reply.json()
    return found


@pytest.fixture
def turn(places: Places, project: str) -> str:
    """A turn that runs a tool at home, read by nobody."""
    with places.home.stream(TOOL, project, events=["tool"]) as reply:
        return reply.headers["X-Turn-ID"]


def ended(server: Client, turn: str) -> dict[str, Any]:
    wait_for(lambda: server.get(f"/turns/{turn}").json()["ended_at"] is not None, what="its end")
    found: dict[str, Any] = server.get(f"/turns/{turn}").json()
    return found


def test_it_joins_the_turn(via: Gunicorn, places: Places, turn: str) -> None:
    said = steer(via, turn)
    assert said["turn_id"] == turn
    assert ended(via, turn)["message"].endswith("steered")
    for server in places.servers.values():
        assert steers(server, turn) == [("joined", turn)]


def test_what_comes_too_late_is_the_next_turn(via: Gunicorn, places: Places, project: str) -> None:
    turn, rest = begun(places.home, "[[linger 800]] [[say first]]", project, tokens=1)
    said = steer(via, turn)["steer_id"]
    assert joined(rest()) == "first"
    following = ended(via, said)
    assert (following["state"], following["message"]) == ("succeeded", "steered")
    assert steers(via, turn) == [("queued", said)]
    assert places.starts(project) == 1


def test_a_key_says_it_once_also_after_the_end(via: Gunicorn, places: Places, turn: str) -> None:
    key = {"Idempotency-Key": f"steer-{turn}"}
    first = steer(places.home, turn, **key)
    assert steer(via, turn, **key) == first
    ended(via, turn)
    assert steer(via, turn, **key) == first
    assert len(steers(via, turn)) == 1
    other = via.post(f"/turns/{turn}/steer", {"text": "other"}, headers=key)
    assert (other.status_code, other.json()["detail"]["code"]) == (422, "idempotency_mismatch")
    late = via.post(f"/turns/{turn}/steer", {"text": "late"})
    assert (late.status_code, late.json()["detail"]["code"]) == (409, "turn_ended")


def test_a_question_joins_what_runs(
    via: Gunicorn, places: Places, project: str, turn: str, background: BackgroundCalls
) -> None:
    key = {"Idempotency-Key": f"ask-{turn}"}
    body = {"project_name": project, "question": SAID, "on_busy": "steer"}
    whole = background(via.post, "/ask_question", body, headers=key)
    seen = via.streamed("[[say streamed]]", project, on_busy="steer", events=["status"])
    reply = whole.result(20).json()
    assert (reply["turn_id"], reply["steered"]) == (turn, True)
    assert seen[0].data["turn_id"] == turn
    assert joined(seen)
    assert reply["message"].endswith(joined(seen))
    for server in places.servers.values():
        again = server.post("/ask_question", body, headers=key)
        assert (again.json()["turn_id"], again.json()["steered"]) == (turn, True)
        assert again.headers["Idempotent-Replayed"] == "true"
    assert len(steers(via, turn)) == 2


def test_where_nothing_runs_it_is_a_question(via: Gunicorn, project: str) -> None:
    reply = via.ask("[[say plain]]", project, on_busy="steer").json()
    assert reply["message"] == "plain"
    assert "steered" not in reply
