"""A client that leaves while nothing is being written to it, and one that only stops sending."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.fake_claude import Lifelines
from tests.fakes import Fakes
from tests.serving import Client, Gunicorn, Served, frames, joined, wait_for
from tests.turns.raw_client import ASK, ASK_STREAMING, LEAVING, Line, last_frame, question, turn_of
from tests.upstream import Upstream

BOTH = [ASK, ASK_STREAMING]
SILENT = "[[hang]] silent"
NOTICED_S = 0.5


def interrupts(fakes: Fakes) -> list[float]:
    """When the fakes were told to stop; monotonic, one clock for the machine."""
    return [
        entry["at"] for entry in fakes.entries("control") if "interrupt" in str(entry["request"])
    ]


def noticed(to: Client, dial: Callable[..., Line], fakes: Fakes, path: str, leave: str) -> float:
    """Seconds from leaving a silent turn to the CLI's interrupt."""
    asked, stopped = len(fakes.asked), len(interrupts(fakes))
    line = dial(to, path, question(SILENT))
    fakes.wait_asked(asked + 1)
    time.sleep(0.3)  # into the silence: this is the case that no write can tell of
    begun = time.monotonic()
    getattr(line, leave)()
    wait_for(lambda: len(interrupts(fakes)) > stopped, what="the interrupt")
    return interrupts(fakes)[-1] - begun


def soonest(try_once: Callable[[], float]) -> float:
    """The best of three tries, one where that is good enough: the machine may be busy."""
    best = try_once()
    for _ in range(2):
        best = best if best < NOTICED_S else min(best, try_once())
    return best


@pytest.mark.parametrize("leave", LEAVING)
@pytest.mark.parametrize("path", BOTH)
def test_leaving_is_noticed_in_the_silence(
    path: str,
    leave: str,
    serve: Callable[..., Served],
    fakes: Fakes,
    dial: Callable[..., Line],
) -> None:
    served = serve(**fakes.settings(), COWORK_DISCONNECT_GRACE="0")
    assert soonest(lambda: noticed(served, dial, fakes, path, leave)) < NOTICED_S


def test_gunicorn_notices_leaving_in_every_way_and_no_half_close(
    gunicorn: Callable[..., Gunicorn], fakes: Fakes, dial: Callable[..., Line]
) -> None:
    server = gunicorn(**fakes.settings(), COWORK_DISCONNECT_GRACE="0")
    for path in BOTH:
        for leave in LEAVING:
            noticing = partial(noticed, server, dial, fakes, path, leave)
            assert soonest(noticing) < NOTICED_S, (path, leave)
    before = len(interrupts(fakes))
    lines = [dial(server, path, question("[[pause 700]] hi", path)) for path in BOTH]
    for line in lines:
        line.half_close()
    assert b"You said: hi" in lines[0].until(b"You said: hi")
    assert b'"success": true' in lines[1].until(b'"success": true')
    assert len(interrupts(fakes)) == before


def test_leaving_a_stream_that_has_begun_is_noticed_in_its_next_silence(
    serve: Callable[..., Served], fakes: Fakes, dial: Callable[..., Line]
) -> None:
    served = serve(**fakes.settings(), COWORK_DISCONNECT_GRACE="0")

    def leave() -> float:
        stopped = len(interrupts(fakes))
        line = dial(served, ASK_STREAMING, question("[[stall]] [[words 9]]"))
        line.until(b'"w3 "')
        time.sleep(0.3)  # into the silence
        begun = time.monotonic()
        line.close()
        wait_for(lambda: len(interrupts(fakes)) > stopped, what="the interrupt")
        return interrupts(fakes)[-1] - begun

    assert soonest(leave) < NOTICED_S


def test_leaving_a_stream_that_is_being_written_is_noticed_too(
    serve: Callable[..., Served], fakes: Fakes
) -> None:
    served = serve(**fakes.settings(), COWORK_DISCONNECT_GRACE="0")
    with served.stream("[[words 1000]] [[delay 20]]") as reply:
        next(frames(reply))
    wait_for(lambda: interrupts(fakes), timeout=3, what="the interrupt")


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("pause", [700, 0])
def test_a_client_that_only_stops_sending_gets_its_answer(
    pause: int,
    path: str,
    serve: Callable[..., Served],
    fakes: Fakes,
    dial: Callable[..., Line],
) -> None:
    served = serve(**fakes.settings(), COWORK_DISCONNECT_GRACE="0")
    line = dial(served, path, question(f"[[pause {pause}]] [[words 8]] [[delay 40]]"))
    line.half_close()
    received = line.until(b'"success": true' if path == ASK_STREAMING else b"w8")
    assert b"200 OK" in received
    assert b"w8" in received
    assert interrupts(fakes) == []


@pytest.mark.parametrize("path", BOTH)
def test_a_client_that_stops_sending_and_leaves_later_is_noticed(
    path: str, serve: Callable[..., Served], fakes: Fakes, dial: Callable[..., Line]
) -> None:
    served = serve(
        **fakes.settings(),
        COWORK_DISCONNECT_GRACE="0",
        COWORK_KEEPALIVE="0.2",
        COWORK_FIRST_EVENT_WAIT="0.1",
    )
    line = dial(served, path, question(SILENT))
    fakes.wait_asked()
    line.half_close()
    time.sleep(0.5)  # it is noticed that the client stopped sending, and that it reads
    assert interrupts(fakes) == []
    line.reset()
    wait_for(lambda: interrupts(fakes), timeout=3, what="the interrupt")


def test_a_reader_that_comes_back_in_time_keeps_its_turn(
    serve: Callable[..., Served], fakes: Fakes
) -> None:
    served = serve(**fakes.settings(), COWORK_DISCONNECT_GRACE="0.8")
    with served.stream("[[words 40]] [[delay 40]]") as reply:
        turn_id = reply.headers["X-Turn-ID"]
        reading = frames(reply)
        seen = [next(reading) for _ in range(5)]
    time.sleep(0.3)  # gone, but for less than the grace
    headers = {"Last-Event-ID": str(seen[-1].id)}
    with served.get(f"/turns/{turn_id}/events", headers=headers, stream=True) as reply:
        seen += list(frames(reply))
    assert joined(seen) == " ".join(f"w{n}" for n in range(1, 41))
    assert last_frame(seen)["success"] is True
    assert interrupts(fakes) == []


def test_a_turn_that_nobody_comes_back_to_is_interrupted_after_the_grace(
    serve: Callable[..., Served], fakes: Fakes, upstream: Upstream
) -> None:
    served = serve(
        **fakes.settings(), COWORK_DISCONNECT_GRACE="0.8", CHAT_API_BASE_URL=upstream.url
    )
    with served.stream("[[stall]] [[words 9]]") as reply:
        turn_id = reply.headers["X-Turn-ID"]
        reading = frames(reply)
        for _ in range(3):
            next(reading)
        left = time.monotonic()
    wait_for(lambda: turn_of(served, turn_id)["state"] == "interrupted", what="the end")
    assert interrupts(fakes)[-1] - left >= 0.7
    assert turn_of(served, turn_id)["message"] == "w1 w2 w3 "
    wait_for(lambda: len(upstream.messages) == 2, what="both messages")
    assert upstream.messages[1]["status"] == "partial"


@pytest.mark.parametrize("path", BOTH)
def test_without_end_of_grace_a_turn_goes_on_alone(
    path: str, serve: Callable[..., Served], dial: Callable[..., Line], fakes: Fakes
) -> None:
    served = serve(**fakes.settings(), COWORK_DISCONNECT_GRACE="-1")
    line = dial(served, path, question("[[pause 800]] one"))
    fakes.wait_asked()
    line.close()
    reply = served.ask("[[count]] two")
    assert reply.json()["message"] == "I see 2 questions: one | two"
    wait_for(lambda: len(fakes.entries("turn")) == 2, what="the log's second turn")
    assert [turn["outcome"] for turn in fakes.entries("turn")] == ["completed"] * 2


def test_the_last_of_two_readers_to_leave_counts(
    serve: Callable[..., Served], fakes: Fakes
) -> None:
    served = serve(**fakes.settings(), COWORK_DISCONNECT_GRACE="0")
    with served.stream("[[words 20]] [[delay 30]]") as reply:
        turn_id = reply.headers["X-Turn-ID"]
        first = frames(reply)  # kept: its end may be taken for the first reader's
        next(first)
        second = served.get(f"/turns/{turn_id}/events", stream=True)
        reading = frames(second)
        next(reading)
    with second:
        assert last_frame(list(reading))["success"] is True
    assert interrupts(fakes) == []


def test_nothing_is_left_of_turns_whose_clients_left(
    serve: Callable[..., Served], fakes: Fakes, lifelines: Lifelines, dial: Callable[..., Line]
) -> None:
    served = serve(**fakes.settings(), **lifelines.environment, COWORK_DISCONNECT_GRACE="0")
    for path in BOTH:
        line = dial(served, path, question("[[tool 60]]", path))
        wait_for(lambda path=path: len(fakes.entries("child")) > BOTH.index(path), what="the tool")
        line.close()
    assert lifelines.wait_for(2), lifelines.held  # the two residents, no tool
