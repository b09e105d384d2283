"""`GET /turns/{turn_id}/events`: exactly the frames that were missed, then live."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from tests.background import BackgroundCalls
from tests.contract.replies import ASK_PATHS, invalid, problem
from tests.serving import Client, Frame, Served, frames, joined, wait_for
from tests.turns.raw_client import Line, last_frame, numbers, question, turn_of

ALICE, BOB = "alice-" + "a" * 32, "bob-" + "b" * 32
TWELVE = " ".join(f"w{n}" for n in range(1, 13))
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def events(client: Client, turn_id: str, after: str | None = None, query: str = "") -> list[Frame]:
    """The frames behind `after`, to the end of the stream."""
    headers = {} if after is None else {"Last-Event-ID": after}
    with client.get(f"/turns/{turn_id}/events{query}", headers=headers, stream=True) as reply:
        assert reply.status_code == 200, reply.text
        return list(frames(reply))


def asked(client: Client, text: str, **more: object) -> tuple[str, list[Frame]]:
    """A turn that was streamed to its end: its id and its frames."""
    with client.stream(text, **more) as reply:
        return reply.headers["X-Turn-ID"], list(frames(reply))


def test_every_frame_has_the_turns_id_and_a_rising_number(served: Served) -> None:
    turn_id, seen = asked(served, "[[words 12]]")
    assert all(str(frame.id).startswith(f"{turn_id}.") for frame in seen)
    rising = numbers(seen)
    assert rising == sorted(set(rising))
    assert last_frame(seen)["turn_id"] == turn_id


@pytest.mark.parametrize("path", ASK_PATHS)
@pytest.mark.parametrize("text", ["hi", "[[fail 500]]"])
def test_every_reply_names_its_turn(path: str, text: str, served: Served) -> None:
    turn_id = served.post(path, question(text)).headers["X-Turn-ID"]
    assert turn_of(served, turn_id)["turn_id"] == turn_id


def test_a_finished_turn_can_be_read_again_from_every_frame(served: Served) -> None:
    turn_id, seen = asked(served, "[[words 12]]")
    assert events(served, turn_id) == seen
    for index, frame in enumerate(seen[:-1]):
        assert events(served, turn_id, frame.id) == seen[index + 1 :]


def test_after_means_the_same_as_last_event_id_and_may_be_a_bare_number(served: Served) -> None:
    turn_id, seen = asked(served, "[[words 12]]")
    assert events(served, turn_id, query=f"?after={seen[3].id}") == seen[4:]
    assert events(served, turn_id, query=f"?after={numbers(seen)[3]}") == seen[4:]
    assert events(served, turn_id, query="?after=0") == seen


def test_a_cut_stream_goes_on_where_it_was_cut(served: Served) -> None:
    with served.stream("[[words 60]] [[delay 10]]") as reply:
        turn_id = reply.headers["X-Turn-ID"]
        reading = frames(reply)
        seen = [next(reading) for _ in range(7)]
    for _ in range(4):
        headers = {"Last-Event-ID": str(seen[-1].id)}
        with served.get(f"/turns/{turn_id}/events", headers=headers, stream=True) as reply:
            reading = frames(reply)
            seen += [next(reading) for _ in range(9)]
    seen += events(served, turn_id, seen[-1].id)
    assert joined(seen) == " ".join(f"w{n}" for n in range(1, 61))
    assert len(set(numbers(seen))) == len(seen)
    assert last_frame(seen)["success"] is True


def test_two_readers_of_a_running_turn_get_the_same_frames(
    served: Served, background: BackgroundCalls
) -> None:
    with served.stream("[[words 40]] [[delay 15]]") as reply:
        turn_id = reply.headers["X-Turn-ID"]
        reading = frames(reply)
        begun = [next(reading) for _ in range(5)]
        late = background(events, served, turn_id, begun[2].id)
        whole = background(events, served, turn_id)
        seen = [*begun, *reading]
    assert whole.result(10) == seen
    assert late.result(10) == seen[3:]


def test_a_reader_that_reads_slowly_holds_neither_the_turn_nor_other_readers(
    served: Served, dial: Callable[..., Line]
) -> None:
    with served.stream("[[flood 20000]]") as reply:
        turn_id = reply.headers["X-Turn-ID"]
        slow = dial(served, f"/turns/{turn_id}/events", buffer=4096)
        assert slow.socket.recv(10)
        quick = dial(served, f"/turns/{turn_id}/events")
        quick.until(b'"done": true')
        assert turn_of(served, turn_id)["state"] == "succeeded"
    slow.until(b'"done": true')
    assert slow.received.count(b"data: ") == quick.received.count(b"data: ")


def test_after_the_last_frame_there_is_nothing_to_come_back_for(served: Served) -> None:
    turn_id, seen = asked(served, "hi")
    reply = served.get(f"/turns/{turn_id}/events", headers={"Last-Event-ID": seen[-1].id})
    assert reply.status_code == 204
    assert reply.content == b""


def test_the_time_to_wait_before_coming_back_is_said_once(served: Served) -> None:
    turn_id, _ = asked(served, "[[words 12]]")
    text = served.get(f"/turns/{turn_id}/events").text
    assert [line for line in text.splitlines() if line.startswith("retry:")] == ["retry: 1000"]


def test_the_stream_has_the_headers_of_a_stream(served: Served) -> None:
    turn_id, _ = asked(served, "hi")
    headers = served.get(f"/turns/{turn_id}/events").headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache, no-transform"
    assert headers["X-Accel-Buffering"] == "no"
    assert headers["X-Turn-ID"] == turn_id


def test_a_turn_of_the_other_endpoint_can_be_read_as_a_stream(served: Served) -> None:
    reply = served.ask("[[words 12]]")
    assert joined(events(served, reply.headers["X-Turn-ID"])) == reply.json()["message"] == TWELVE


def test_a_failed_turn_replays_its_text_its_error_and_its_end(served: Served) -> None:
    turn_id, seen = asked(served, "[[die]] [[words 12]]")
    assert events(served, turn_id) == seen
    assert [frame.data["type"] for frame in seen[:-1]] == ["token"] * 3 + ["error"]
    assert seen[-2].data["code"] == "claude_failed"
    assert last_frame(seen)["success"] is False


def test_a_reader_chooses_the_kinds_of_events_and_the_numbers_stay(served: Served) -> None:
    kinds = ["tool", "thinking", "status"]
    turn_id, (first, *seen) = asked(served, "[[tool]] [[words 5]]", events=kinds)
    again = events(served, turn_id, query="?events=tool,thinking,status")
    assert again[1:] == seen
    assert again[0].id == first.id == f"{turn_id}.0"
    plain = events(served, turn_id, query="?events=")
    assert {frame.data.get("type") for frame in plain[:-1]} == {"token"}
    assert plain == [frame for frame in seen if frame in plain]
    invalid(served.get(f"/turns/{turn_id}/events?events=nonsense"), "query", "events")


def test_fault_w5_a_resume_has_the_events_that_its_question_asked_for(served: Served) -> None:
    turn_id, (_, *seen) = asked(served, "[[tool]] [[words 5]]", events=["tool", "status"])
    assert {"tool_use", "tool_result"} <= {frame.data["type"] for frame in seen}
    (turn, *again) = events(served, turn_id, seen[1].id)
    assert again == seen[2:]
    assert turn.id == seen[1].id
    assert turn.data == {
        "type": "turn",
        "turn_id": turn_id,
        "project_id": "p",
        "state": "succeeded",
        "position": 0,
    }


def test_silence_is_filled_with_comments(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_KEEPALIVE="0.05")
    with served.stream("[[pause 400]] hi", events=["status"]) as reply:
        turn_id = reply.headers["X-Turn-ID"]
        text = served.get(f"/turns/{turn_id}/events").text
    assert len(re.findall(r"^: keep-alive\n(?!\n)", text, re.MULTILINE)) >= 2
    assert '"done": true' in text


@pytest.mark.parametrize("path", ["", "/events"])
def test_a_turn_that_never_was_is_not_found(path: str, served: Served) -> None:
    for turn_id in (UNKNOWN, "nonsense", "%00", "a%2Fb"):
        reply = served.get(f"/turns/{turn_id}{path}")
        assert reply.status_code == 404, (turn_id, reply.text)
    problem(served.get(f"/turns/{UNKNOWN}{path}"), 404, "turn_not_found")


def test_another_callers_turn_is_not_found(
    serve: Callable[..., Served], another: Callable[..., Client]
) -> None:
    served = serve(COWORK_API_KEYS=f"alice={ALICE},bob={BOB}")
    alice, bob = another(served, ALICE), another(served, BOB)
    turn_id = alice.ask("secret").headers["X-Turn-ID"]
    with alice.stream("[[words 100]] [[delay 20]]") as reply:
        running = reply.headers["X-Turn-ID"]
        for mine in (turn_id, running):
            problem(bob.get(f"/turns/{mine}"), 404, "turn_not_found")
            problem(bob.get(f"/turns/{mine}/events"), 404, "turn_not_found")
            problem(bob.post(f"/turns/{mine}/interrupt"), 404, "turn_not_found")
        assert bob.post("/sessions/p/interrupt").json()["success"] is False
        assert turn_of(alice, running)["state"] == "running"
        alice.post(f"/turns/{running}/interrupt")


def test_a_turn_is_forgotten_after_its_retention(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_TURN_RETENTION="1")
    turn_id, seen = asked(served, "hi")
    ended = time.monotonic()
    assert events(served, turn_id) == seen
    wait_for(lambda: served.get(f"/turns/{turn_id}").status_code == 410, what="the forgetting")
    assert time.monotonic() - ended >= 0.8
    problem(served.get(f"/turns/{turn_id}"), 410, "turn_expired")
    problem(served.get(f"/turns/{turn_id}/events"), 410, "turn_expired")
    problem(served.post(f"/turns/{turn_id}/interrupt"), 410, "turn_expired")


@pytest.mark.parametrize("given", ["x", "-1", "1.5", f"{UNKNOWN}.1", "9" * 40, "1;2", "٣"])
def test_an_id_that_is_none_of_the_turns_is_a_fault_of_the_request(
    given: str, served: Served
) -> None:
    turn_id, _ = asked(served, "hi")
    invalid(served.get(f"/turns/{turn_id}/events", params={"after": given}), "query", "after")
    headers = {"Last-Event-ID": given.encode()}
    invalid(served.get(f"/turns/{turn_id}/events", headers=headers), "header", "Last-Event-ID")
