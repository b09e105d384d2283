"""Saying something to a turn of the real CLI while it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.background import BackgroundCalls
from tests.contract.replies import problem
from tests.e2e.approving import Asked, asked, decide, write
from tests.e2e.environment import Stage, at_long_tool, long_tool, open_stage
from tests.serving import wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def stage(real_claude: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    store = f"sqlite:///{folder}/store.db"
    with open_stage(folder, real_claude, COWORK_APPROVALS="optional", COWORK_STORE=store) as opened:
        # The user's own settings let the tools run.
        (opened.config / "settings.json").write_text('{"permissions": {"allow": ["Bash"]}}')
        yield opened


def steer(stage: Stage, turn_id: str, text: str, **headers: str) -> dict[str, Any]:
    """Say it to the turn; the reply, with the header that tells of a repetition."""
    reply = stage.server.post(f"/turns/{turn_id}/steer", {"text": text}, headers=headers)
    assert reply.status_code == 202, reply.text
    assert reply.headers["X-Turn-ID"] == turn_id
    found: dict[str, Any] = reply.json()
    return {**found, "replayed": reply.headers.get("Idempotent-Replayed")}


def turn_of(stage: Stage, turn_id: str) -> dict[str, Any]:
    found: dict[str, Any] = stage.server.get(f"/turns/{turn_id}").json()
    return found


def steers(stage: Stage, turn_id: str) -> dict[str, tuple[str, str]]:
    """What has become of each: its state and the turn that it is part of."""
    told = turn_of(stage, turn_id).get("steers", [])
    return {each["steer_id"]: (each["state"], each["turn_id"]) for each in told}


def ended(stage: Stage, turn_id: str) -> dict[str, Any]:
    wait_for(lambda: turn_of(stage, turn_id)["ended_at"] is not None, what="its end")
    return turn_of(stage, turn_id)


def told(seen: Asked) -> list[tuple[str, str]]:
    """The `steered` frames: state and turn."""
    return [
        (each["state"], each["turn_id"])
        for each in seen.of("status")
        if each["status"] == "steered"
    ]


def in_a_tool(stage: Stage, seen: Asked, seconds: int) -> str:
    """The id of a turn, when its long tool runs."""
    wait_for(lambda: bool(at_long_tool(stage, seconds)), what="the tool")
    return str(seen.of("turn")[0]["turn_id"])


def texts_of(stage: Stage, project: str) -> list[tuple[str, str]]:
    """What was said in the project: role and text of each message that has one."""
    messages = stage.server.get(f"/sessions/{project}/messages").json()["messages"]
    found = []
    for each in messages:
        text = "".join(part["text"] for part in each["parts"] if part["type"] == "text")
        if text:
            found.append((each["role"], text))
    return found


def test_what_is_said_in_a_tool_joins_the_turn(stage: Stage) -> None:
    question = f"[[say first]] {long_tool(2)}"
    with asked(stage.server, question, "joins", approvals=False) as seen:
        turn = in_a_tool(stage, seen, 2)
        said = steer(stage, turn, "[[say steered]]")
        assert steers(stage, turn) == {said["steer_id"]: ("pending", turn)}
        end = seen.end()
    assert end["success"] is True
    assert told(seen) == [("pending", turn), ("joined", turn)]
    assert steers(stage, turn) == {said["steer_id"]: ("joined", turn)}
    # The model was sent it with the tool's result, and answered.
    assert "[[say steered]]" in json.dumps(stage.model.exchanges[-1].body)
    assert seen.text.endswith("steered")
    assert texts_of(stage, "joins")[-2:] == [("user", "[[say steered]]"), ("assistant", "steered")]
    problem(stage.server.post(f"/turns/{turn}/steer", {"text": "too late"}), 409, "turn_ended")


def test_what_is_said_too_late_is_the_next_turn(stage: Stage) -> None:
    with asked(stage.server, "[[words 60]] [[delay 20]]", "late", approvals=False) as seen:
        wait_for(lambda: len(seen.of("token")) > 3, what="tokens")
        turn = str(seen.of("turn")[0]["turn_id"])
        one = steer(stage, turn, "[[say one]]")["steer_id"]
        two = steer(stage, turn, "[[say two]]")["steer_id"]
        waiting = stage.server.ask("[[say last]]", "late")
        end = seen.end()
    assert end["success"] is True
    assert seen.text.endswith("word60")
    assert told(seen)[-2:] == [("queued", two), ("queued", two)]
    assert steers(stage, turn) == {one: ("queued", two), two: ("queued", two)}
    following = ended(stage, two)
    assert (following["state"], following["message"]) == ("succeeded", "two")
    assert following["project_id"] == "late"
    assert waiting.json()["message"] == "last"
    assert texts_of(stage, "late")[2:] == [
        ("user", "[[say one]]\n[[say two]]"),
        ("assistant", "two"),
        ("user", "[[say last]]"),
        ("assistant", "last"),
    ]
    # One process, one session, three turns; the model was asked once for each.
    session = stage.server.get("/sessions/late").json()
    assert session["turns"] == 3
    assert len([each for each in stage.model.exchanges if "[[say two]]" in each.question]) == 1


def test_an_interrupt_cancels_what_waits(stage: Stage) -> None:
    with asked(stage.server, f"[[say no]] {long_tool(30)}", "cut", approvals=False) as seen:
        turn = in_a_tool(stage, seen, 30)
        said = steer(stage, turn, "[[say never]]")["steer_id"]
        assert stage.server.post(f"/turns/{turn}/interrupt").status_code == 200
        seen.end()
    assert steers(stage, turn) == {said: ("cancelled", turn)}
    stage.answers_again("cut")
    assert not any("[[say never]]" in text for _, text in texts_of(stage, "cut"))


def test_one_key_says_it_once(stage: Stage) -> None:
    with asked(stage.server, f"[[say x]] {long_tool(2)}", "keyed", approvals=False) as seen:
        turn = in_a_tool(stage, seen, 2)
        first = steer(stage, turn, "[[say once]]", **{"Idempotency-Key": "k"})
        again = steer(stage, turn, "[[say once]]", **{"Idempotency-Key": "k"})
        other = stage.server.post(
            f"/turns/{turn}/steer", {"text": "other"}, headers={"Idempotency-Key": "k"}
        )
        problem(other, 422, "idempotency_mismatch")
        seen.end()
    assert first["steer_id"] == again["steer_id"]
    assert (first["replayed"], again["replayed"]) == (None, "true")
    assert seen.text.endswith("once")
    late = steer(stage, turn, "[[say once]]", **{"Idempotency-Key": "k"})
    assert late == again


def test_a_text_with_a_slash_is_no_command(stage: Stage) -> None:
    """The CLI takes none into a turn that begins with one: it is the next turn, as text."""
    with asked(stage.server, f"[[say x]] {long_tool(1)}", "slash", approvals=False) as seen:
        turn = in_a_tool(stage, seen, 1)
        said = steer(stage, turn, "/compact [[say slash]]")["steer_id"]
        seen.end()
    assert steers(stage, turn) == {said: ("queued", said)}
    assert ended(stage, said)["message"] == "slash"


def test_a_question_joins_the_turn_that_runs(stage: Stage, background: BackgroundCalls) -> None:
    with asked(stage.server, f"[[say x]] {long_tool(3)}", "busy", approvals=False) as seen:
        turn = in_a_tool(stage, seen, 3)
        key = {"Idempotency-Key": "busy-key"}
        body = {"project_name": "busy", "question": "[[say both]]", "on_busy": "steer"}
        whole = background(stage.server.post, "/ask_question", body, headers=key)
        wait_for(lambda: len(steers(stage, turn)) == 1, what="a steer")
        streamed = stage.server.streamed(
            "[[say three]]", "busy", on_busy="steer", events=["status"]
        )
        seen.end()
    reply = whole.result(30)
    assert reply.headers["X-Turn-ID"] == turn
    assert (reply.json()["turn_id"], reply.json()["steered"]) == (turn, True)
    assert reply.json()["message"] == turn_of(stage, turn)["message"]
    assert streamed[0].data["turn_id"] == turn
    assert next(each.data["status"] for each in streamed if each.data.get("type") == "status") == (
        "steered"
    )
    assert "".join(each.data.get("token", "") for each in streamed).endswith("three")
    # A repetition does not ask again, though the turn has ended.
    again = stage.server.post("/ask_question", body, headers=key)
    assert (again.json()["turn_id"], again.json()["steered"]) == (turn, True)
    assert again.headers["Idempotent-Replayed"] == "true"
    # Where nothing runs it is a question.
    plain = stage.server.ask("[[say plain]]", "busy", on_busy="steer").json()
    assert plain["message"] == "plain"
    assert "steered" not in plain


def test_what_is_said_while_a_person_is_asked_joins_behind_the_answer(stage: Stage) -> None:
    path = stage.workspace / "steered.txt"
    with asked(stage.server, f"[[say x]] {write(path)}", "asked") as seen:
        approval = seen.approval()
        turn = str(seen.of("turn")[0]["turn_id"])
        said = steer(stage, turn, "[[say after]]")["steer_id"]
        assert decide(stage.server, approval).status_code == 200
        seen.end()
    assert path.read_text() == "x"
    assert seen.text.endswith("after")
    assert steers(stage, turn) == {said: ("joined", turn)}
