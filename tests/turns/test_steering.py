"""`POST /turns/{id}/steer`, and `on_busy: "steer"`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.background import BackgroundCalls
from tests.contract.replies import problem
from tests.fakes import Fakes
from tests.serving import Client, Frame, Served, frames, wait_for
from tests.turns.raw_client import question

TOOL = "[[tool 0.6]] first"


def running(client: Client, text: str, project: str = "p", **body: Any) -> str:
    """The id of a turn that runs with nobody reading it."""
    with client.stream(text, project, events=["status"], **body) as reply:
        return reply.headers["X-Turn-ID"]


def steer(client: Client, turn: str, text: str, **headers: str) -> dict[str, Any]:
    reply = client.post(f"/turns/{turn}/steer", {"text": text}, headers=headers)
    assert reply.status_code == 202, reply.text
    found: dict[str, Any] = reply.json()
    return found


def turn_of(client: Client, turn: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/turns/{turn}").json()
    return found


def ended(client: Client, turn: str) -> dict[str, Any]:
    wait_for(lambda: turn_of(client, turn)["ended_at"] is not None, what="its end")
    return turn_of(client, turn)


def states(client: Client, turn: str) -> list[tuple[str, str]]:
    return [(each["state"], each["turn_id"]) for each in turn_of(client, turn).get("steers", [])]


def steered(seen: list[Frame]) -> list[dict[str, Any]]:
    return [frame.data for frame in seen if frame.data.get("status") == "steered"]


def wait_tool(fakes: Fakes) -> None:
    wait_for(lambda: bool(fakes.entries("child")), what="the tool")


def test_it_joins_the_turn_when_its_tool_has_ended(logged: Served, fakes: Fakes) -> None:
    turn = running(logged, TOOL)
    wait_tool(fakes)
    said = steer(logged, turn, "[[say steered]]")
    assert said == {"success": True, "steer_id": said["steer_id"], "turn_id": turn}
    assert ended(logged, turn)["message"].endswith("steered")
    assert states(logged, turn) == [("joined", turn)]
    with logged.get(f"/turns/{turn}/events?events=status", stream=True) as reply:
        told = steered(list(frames(reply)))
    assert [each["state"] for each in told] == ["pending", "joined"]
    assert told[0]["text"] == "[[say steered]]"
    assert "text" not in told[1]
    assert fakes.asked == [TOOL, "[[say steered]]"]


def test_what_comes_too_late_is_the_next_turn_before_all_that_waits(
    logged: Served, fakes: Fakes, background: BackgroundCalls
) -> None:
    turn = running(logged, "[[linger 500]] [[say first]]")
    waiting = background(logged.ask, "[[say last]]")
    wait_for(lambda: logged.get("/health").json()["turns"] == 2, what="a question that waits")
    fakes.wait_asked()
    one = steer(logged, turn, "[[say one]]")["steer_id"]
    two = steer(logged, turn, "[[say two]]")["steer_id"]
    assert waiting.result(10).json()["message"] == "last"
    assert states(logged, turn) == [("queued", two), ("queued", two)]
    assert turn_of(logged, turn)["message"] == "first"
    following = turn_of(logged, two)
    assert (following["state"], following["message"]) == ("succeeded", "two")
    problem(logged.get(f"/turns/{one}"), 404, "turn_not_found")
    # Nothing was asked twice, and one process answered all of it.
    assert fakes.asked == [
        "[[linger 500]] [[say first]]",
        "[[say one]]",
        "[[say two]]",
        "[[say last]]",
    ]
    assert len(fakes.entries("start")) == 1
    assert logged.get("/sessions/p").json()["turns"] == 3


def test_what_was_said_before_the_turn_began_joins_it_or_follows_it(
    logged: Served, fakes: Fakes
) -> None:
    before = running(logged, "[[stall]] before")
    turn = running(logged, "[[say second]]")
    said = steer(logged, turn, "[[say after]]")["steer_id"]
    assert states(logged, turn) == [("pending", turn)]
    logged.post(f"/turns/{before}/interrupt")
    assert ended(logged, turn)["message"] == "second"
    assert states(logged, turn) == [("queued", said)]
    assert ended(logged, said)["message"] == "after"
    assert len(fakes.asked) == 3


def test_an_interrupt_cancels_it(logged: Served, fakes: Fakes) -> None:
    turn = running(logged, "[[stall]] x")
    fakes.wait_asked()
    said = steer(logged, turn, "[[say never]]")
    logged.post(f"/turns/{turn}/interrupt")
    assert states(logged, turn) == [("cancelled", turn)]
    problem(logged.get(f"/turns/{said['steer_id']}"), 404, "turn_not_found")
    assert logged.ask("[[say on]]").json()["message"] == "on"
    assert logged.get("/sessions/p").json()["turns"] == 2


def test_a_process_that_dies_cancels_it(logged: Served, fakes: Fakes) -> None:
    turn = running(logged, "[[delay 200]] [[kill]] [[words 9]]")
    fakes.wait_asked()
    steer(logged, turn, "[[say never]]")
    assert ended(logged, turn)["error"]["code"] == "claude_failed"
    assert states(logged, turn) == [("cancelled", turn)]
    assert logged.ask("[[say on]]").json()["message"] == "on"


def test_a_process_that_dies_in_the_turn_that_follows_ends_that(
    logged: Served, fakes: Fakes
) -> None:
    turn = running(logged, "[[linger 300]] [[say first]]")
    fakes.wait_asked()
    said = steer(logged, turn, "[[kill]] [[words 9]]")["steer_id"]
    assert ended(logged, turn)["state"] == "succeeded"
    assert ended(logged, said)["error"]["code"] == "claude_failed"
    assert logged.ask("[[say on]]").json()["message"] == "on"


def test_the_turn_that_follows_is_interrupted_like_any_other(logged: Served, fakes: Fakes) -> None:
    turn = running(logged, "[[linger 300]] [[say first]]")
    fakes.wait_asked()
    said = steer(logged, turn, "[[stall]] x")["steer_id"]
    assert ended(logged, turn)["state"] == "succeeded"
    wait_for(lambda: turn_of(logged, said)["message"] != "", what="its first tokens")
    reply = logged.post("/sessions/p/interrupt").json()
    assert (reply["turn_id"], reply["state"]) == (said, "interrupted")
    assert logged.ask("[[say on]]").json()["message"] == "on"
    assert len(fakes.entries("start")) == 1


def test_a_question_that_interrupts_finds_the_turn_that_follows(
    logged: Served, fakes: Fakes
) -> None:
    turn = running(logged, "[[linger 300]] [[say first]]")
    fakes.wait_asked()
    said = steer(logged, turn, "[[stall]] x")["steer_id"]
    assert ended(logged, turn)["state"] == "succeeded"
    assert logged.ask("[[say now]]", on_busy="interrupt").json()["message"] == "now"
    assert ended(logged, said)["state"] == "interrupted"
    assert fakes.entries("overlap") == [] or len(fakes.entries("start")) == 1


def test_a_deletion_ends_the_turn_that_follows(logged: Served, fakes: Fakes) -> None:
    turn = running(logged, "[[linger 300]] [[say first]]")
    fakes.wait_asked()
    said = steer(logged, turn, "[[stall]] x")["steer_id"]
    assert ended(logged, turn)["state"] == "succeeded"
    logged.delete("/sessions/p")
    assert turn_of(logged, said)["state"] == "interrupted"
    assert logged.ask("[[count]] anew").json()["message"] == "I see 1 questions: anew"


def test_eight_may_wait(logged: Served, fakes: Fakes) -> None:
    turn = running(logged, "[[stall]] x")
    fakes.wait_asked()
    for number in range(8):
        steer(logged, turn, f"say {number}")
    reply = logged.post(f"/turns/{turn}/steer", {"text": "one more"})
    problem(reply, 429, "queue_full")
    assert int(reply.headers["Retry-After"]) >= 1
    logged.post(f"/turns/{turn}/interrupt")


def test_a_turn_that_has_ended_takes_nothing(logged: Served) -> None:
    turn = logged.ask("[[say done]]").json()["turn_id"]
    problem(logged.post(f"/turns/{turn}/steer", {"text": "x"}), 409, "turn_ended")
    missing = "00000000-0000-4000-8000-000000000000"
    problem(logged.post(f"/turns/{missing}/steer", {"text": "x"}), 404, "turn_not_found")


@pytest.mark.parametrize(
    "body", [{}, {"text": ""}, {"text": " \n"}, {"text": 1}, {"text": "x" * 65537}, {"text": None}]
)
def test_a_text_that_does_not_fit_is_refused(logged: Served, body: dict[str, Any]) -> None:
    turn = running(logged, "[[stall]] x")
    reply = logged.post(f"/turns/{turn}/steer", body)
    assert (reply.status_code, reply.json()["detail"][0]["loc"]) == (422, ["body", "text"])
    assert states(logged, turn) == []
    logged.post(f"/turns/{turn}/interrupt")


def test_a_key_says_it_once(logged: Served, fakes: Fakes) -> None:
    turn = running(logged, TOOL)
    wait_tool(fakes)
    key = {"Idempotency-Key": "k"}
    first = steer(logged, turn, "[[say once]]", **key)
    again = logged.post(f"/turns/{turn}/steer", {"text": "[[say once]]"}, headers=key)
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (first, "true")
    other = logged.post(f"/turns/{turn}/steer", {"text": "another"}, headers=key)
    problem(other, 422, "idempotency_mismatch")
    ended(logged, turn)
    assert steer(logged, turn, "[[say once]]", **key) == first
    assert fakes.asked == [TOOL, "[[say once]]"]


# -- a question that steers


def test_a_question_steers_what_runs(logged: Served, fakes: Fakes) -> None:
    turn = running(logged, TOOL)
    wait_tool(fakes)
    reply = logged.ask("[[say steered]]", on_busy="steer")
    assert (reply.headers["X-Turn-ID"], reply.json()["turn_id"]) == (turn, turn)
    assert reply.json()["steered"] is True
    assert reply.json()["message"] == turn_of(logged, turn)["message"]
    assert reply.json()["message"].endswith("steered")


def test_its_stream_begins_with_what_comes_from_now_on(logged: Served, fakes: Fakes) -> None:
    turn = running(logged, f"[[delay 5]] {TOOL}")
    wait_tool(fakes)
    seen = logged.streamed("[[say steered]]", on_busy="steer", events=["status"])
    assert (seen[0].data["type"], seen[0].data["turn_id"]) == ("turn", turn)
    assert [each["state"] for each in steered(seen)] == ["pending", "joined"]
    text = "".join(frame.data.get("token", "") for frame in seen)
    assert text.strip() == "steered"
    assert turn_of(logged, turn)["message"].endswith(text)
    assert seen[-1].data["done"] is True


def test_where_nothing_runs_it_is_a_question(logged: Served) -> None:
    reply = logged.ask("[[say plain]]", on_busy="steer").json()
    assert reply["message"] == "plain"
    assert "steered" not in reply


@pytest.mark.parametrize("first", ["steers", "asks"])
def test_its_key_finds_what_it_did(logged: Served, fakes: Fakes, first: str) -> None:
    key = {"Idempotency-Key": "k"}
    body = question("[[say once]]", on_busy="steer")
    turn = ""
    if first == "steers":
        turn = running(logged, TOOL)
        wait_tool(fakes)
    one = logged.post("/ask_question", body, headers=key)
    two = logged.post("/ask_question", body, headers=key)
    assert two.headers["Idempotent-Replayed"] == "true"
    assert one.json()["turn_id"] == two.json()["turn_id"]
    assert one.json().get("steered") == two.json().get("steered") == (True if turn else None)
    assert one.json()["message"] == two.json()["message"]
    assert fakes.asked.count("[[say once]]") == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attachments", [{"type": "document", "media_type": "text/plain", "data": "eA=="}]),
        ("model", "haiku"),
        ("max_turns", 3),
        ("system_prompt", "Say x."),
        ("permission_mode", "plan"),
        ("approvals", True),
        ("agent_type", "greet"),
    ],
)
@pytest.mark.parametrize("busy", [True, False])
def test_what_it_cannot_have_is_refused(
    serve: Callable[..., Served], name: str, value: Any, busy: bool
) -> None:
    served = serve(COWORK_APPROVALS="optional")
    turn = running(served, "[[stall]] x") if busy else None
    reply = served.ask("hi", on_busy="steer", **{name: value})
    assert (reply.status_code, reply.json()["detail"][0]["loc"]) == (422, ["body", name])
    if turn is not None:
        assert states(served, turn) == []
        served.post(f"/turns/{turn}/interrupt")


def test_a_text_of_more_than_a_steer_may_have_is_refused(logged: Served) -> None:
    reply = logged.ask("x" * 65537, on_busy="steer")
    assert (reply.status_code, reply.json()["detail"][0]["loc"]) == (422, ["body", "question"])


def test_a_server_that_stops_asks_nothing_more(logged: Served, fakes: Fakes) -> None:
    turn = running(logged, "[[linger 600]] [[say first]]")
    fakes.wait_asked()
    steer(logged, turn, "[[stall]] for ever")
    logged.services.turn_service.stop_accepting()
    assert ended(logged, turn)["state"] == "succeeded"
    assert states(logged, turn) == [("cancelled", turn)]
    # The CLI has gone on with it by itself.
    wait_for(lambda: logged.get("/processes").json()["count"] == 0, what="its process's end")
