"""`POST /ask_question_streaming`: headers, frames, and that they tell what the JSON reply tells."""

from __future__ import annotations

import json

import pytest

from tests.contract.replies import is_uuid
from tests.serving import Frame, Served, joined

SCENES = [
    "[[words 50]]",
    "[[words 1]]",
    "[[say  two  spaces ]]",
    "[[say line\n\nline\r\n\u2028 \ufeff😀 ü \x1b\x00]]",
    '[[say data: {"done": true}\n\nid: 7\n\n]]',
    "[[tool]] [[words 9]]",
    "[[think 5]] [[words 9]]",
    "[[subagent]] [[words 9]]",
    "[[retry 2 10]] [[words 9]]",
    "[[compact]] [[words 9]]",
    "[[garbage]] [[words 40]]",
    "[[flood 700]]",
]
NINE = "w1 w2 w3 w4 w5 w6 w7 w8 w9"
# How often the connection to the model breaks after three words, and what comes of it.
BROKEN = {1: NINE, 2: f"Asked again: {NINE}"}
ASKED_FOR = {"tool": "[[tool]]", "thinking": "[[think 3]]", "status": "[[retry 2 10]]"}
DONE = {
    "done",
    "type",
    "success",
    "session_id",
    "turn_id",
    "is_new_session",
    "usage",
    "total_cost_usd",
    "duration_ms",
}


def test_a_stream_has_the_headers_that_old_clients_and_proxies_know(served: Served) -> None:
    with served.stream("hi") as reply:
        assert reply.status_code == 200
        assert reply.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert reply.headers["Cache-Control"] == "no-cache, no-transform"
        assert reply.headers["X-Accel-Buffering"] == "no"
        assert is_uuid(reply.headers["X-Turn-ID"])
        assert reply.headers["X-Request-ID"]
        assert "Content-Length" not in reply.headers


def test_each_event_is_an_id_and_one_line_of_json(served: Served) -> None:
    with served.stream("[[words 3]]") as reply:
        text = reply.content.decode()
    assert text.endswith("\n\n")
    events = [block for block in text.removesuffix("\n\n").split("\n\n") if block[0] != ":"]
    for event in events:
        lines = sorted(line for line in event.split("\n") if not line.startswith(":"))
        assert [line.partition(": ")[0] for line in lines] == ["data", "id"], event
        assert isinstance(json.loads(lines[0].removeprefix("data: ")), dict)


def test_a_stream_is_tokens_and_then_done(served: Served) -> None:
    *tokens, last = served.streamed("[[words 3]]")
    assert [frame.data for frame in tokens] == [
        {"type": "token", "token": "w1 "},
        {"type": "token", "token": "w2 "},
        {"type": "token", "token": "w3"},
    ]
    assert last.data["done"] is True


def test_the_last_frame_tells_of_the_turn(served: Served) -> None:
    with served.stream("[[words 3]]") as reply:
        turn = reply.headers["X-Turn-ID"]
        last = json.loads(reply.text.strip().rpartition("data: ")[2])
    assert last.keys() >= DONE
    assert last["success"] is True
    assert last["turn_id"] == turn
    assert is_uuid(last["session_id"])
    assert last["is_new_session"] is True
    assert isinstance(last["usage"], dict)
    assert isinstance(last["total_cost_usd"], float)
    assert isinstance(last["duration_ms"], int)
    assert "message" not in last
    assert served.ask("hi").json()["session_id"] == last["session_id"]
    assert served.streamed("hi")[-1].data["is_new_session"] is False


def test_ids_are_on_every_frame_and_grow(served: Served) -> None:
    seen = served.streamed("[[tool]] [[words 20]]", events=["tool", "thinking", "status"])
    assert all(frame.id for frame in seen)
    assert len({frame.id for frame in seen}) == len(seen)
    numbers = [_number(frame) for frame in seen]
    assert numbers == sorted(set(numbers))


def _number(frame: Frame) -> int:
    """The count at the end of an id: `...-3`, `... .3` or `3`."""
    digits = str(frame.id)
    return int(digits[len(digits.rstrip("0123456789")) :])


@pytest.mark.parametrize("events", [[], ["tool", "thinking", "status"]])
def test_the_tokens_are_the_message_of_the_json_reply(served: Served, events: list[str]) -> None:
    for scene in SCENES:
        message = served.ask(scene, "json").json()["message"]
        assert message, scene
        seen = served.streamed(scene, "sse", events=events)
        assert joined(seen) == message, scene
        assert seen[-1].data["success"] is True, scene
        assert "message" not in seen[-1].data, scene


def test_a_message_after_a_tool_begins_after_a_blank_line(served: Served) -> None:
    seen = served.streamed("[[tool]] [[words 2]]")
    assert joined(seen) == "Let me look. \n\nw1 w2"


def test_no_thought_and_no_agents_word_is_a_token(served: Served) -> None:
    assert joined(served.streamed("[[think 3]] [[words 2]]")) == "w1 w2"
    assert joined(served.streamed("[[subagent]] [[words 2]]")) == "Let me ask an agent. \n\nw1 w2"


def test_a_replaced_text_comes_whole_in_the_last_frame(served: Served) -> None:
    for times, message in BROKEN.items():
        question = f"[[broken {times}]] [[words 9]]"
        assert served.ask(question, "json").json()["message"] == message
        for events in ([], ["tool", "thinking", "status"]):
            *before, last = served.streamed(question, "sse", events=events)
            assert joined(before).startswith("w1 w2 w3")
            assert last.data["done"] is True
            assert last.data["success"] is True
            assert last.data["message"] == message


def test_a_plain_client_gets_tokens_only(served: Served) -> None:
    scene = "[[think 3]] [[retry 2 10]] [[compact]] [[words 3]]"
    for question in (scene, "[[tool]] [[words 3]]", "[[subagent]]", "[[broken]] [[words 3]]"):
        *before, last = served.streamed(question)
        assert {frame.data.get("type") for frame in before} == {"token"}, question
        assert last.data["done"] is True


@pytest.mark.parametrize("wanted", ASKED_FOR)
def test_other_events_come_to_those_who_ask_for_them(served: Served, wanted: str) -> None:
    def others(scene: str) -> list[str]:
        seen = served.streamed(f"{scene} [[words 3]]", events=[wanted])
        return [kind for kind in (str(frame.data.get("type")) for frame in seen) if kind != "token"]

    # How the turn stands belongs to `status`, before all else.
    first = ["turn"] if wanted == "status" else []
    *kinds, last = others(ASKED_FOR[wanted])
    assert (kinds[: len(first)], last) == (first, "done")
    assert kinds[len(first) :]
    assert all(kind.startswith(wanted) for kind in kinds[len(first) :]), kinds
    # Who asks for one kind is not sent the other two.
    for scene in (scene for kind, scene in ASKED_FOR.items() if kind != wanted):
        found = others(scene)[len(first) : -1]
        assert all(kind.startswith(wanted) for kind in found), (scene, found)


def test_an_answer_without_a_token_is_done_all_the_same(served: Served) -> None:
    (last,) = served.streamed("[[words 0]]")
    assert last.data["done"] is True
    assert last.data["success"] is True
    assert served.ask("[[words 0]]").json()["message"] == ""
