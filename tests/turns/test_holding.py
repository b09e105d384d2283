"""What a question leaves behind when its turn has ended, and how many may wait."""

from __future__ import annotations

import gc
import json
import socket
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from tests.contract.replies import problem
from tests.serving import Client, Served, wait_for

MIB = 2**20
SIZE = 2 * MIB
KEY, OTHER = "k" * 32 + "-alice", "k" * 32 + "-robot"


@pytest.mark.parametrize("streaming", [False, True])
def test_fault_s4_a_question_is_let_go_when_its_turn_ends(
    served: Served, *, streaming: bool
) -> None:
    def ask(number: int) -> None:
        said = f"[[words 2]] [[die]] {number} " + "x" * SIZE
        if streaming:
            told = served.streamed(said, f"p{number}", system_prompt="y" * 90_000)
            assert told[-1].data["success"] is False
        else:
            assert served.ask(said, f"p{number}", system_prompt="y" * 90_000).status_code == 502

    ask(0)
    tracemalloc.start()
    try:
        before = _held()
        for number in range(1, 9):
            ask(number)
        wait_for(lambda: _held() - before < 2 * SIZE, what="the questions' end")
    finally:
        tracemalloc.stop()


def test_fault_s4_who_waits_for_the_turn_of_a_key_holds_no_question_of_its_own(
    served: Served,
) -> None:
    body = json.dumps({"project_name": "p", "question": "[[words 1]] [[stall]] " + "x" * SIZE})
    said = (
        "POST /ask_question HTTP/1.0\r\nHost: localhost\r\nIdempotency-Key: once\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    del body

    def ask(count: int) -> None:
        for _ in range(count):
            lines.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), 20)))
            lines[-1].sendall(said)

    def readers() -> int:
        return sum(turn._readers.count for turn in served.services.turn_service._queues.all())

    port, lines = urlsplit(served.url).port, list[socket.socket]()
    with ExitStack() as stack:
        ask(1)
        wait_for(lambda: readers() == 1)
        # What is written to the CLI is of no account any more when that answers.
        wait_for(lambda: served.services.turn_service._queues.all()[0].event_count > 0)
        tracemalloc.start()
        try:
            before = _held()
            ask(8)
            wait_for(lambda: readers() == 9)
            assert _held() - before < 2 * SIZE
        finally:
            tracemalloc.stop()
        served.delete("/sessions/p")
        for line in lines:
            while line.recv(SIZE):
                pass


def _held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_fault_s4_a_turn_that_ended_is_still_found_by_its_key(served: Served) -> None:
    headers = {"Idempotency-Key": "once"}
    body = {"project_name": "p", "question": "hi"}
    first = served.post("/ask_question", body, headers=headers)
    again = served.post("/ask_question", body, headers=headers)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    other = served.post("/ask_question", {**body, "question": "bye"}, headers=headers)
    assert problem(other, 422, "idempotency_mismatch")


def test_fault_s4_an_owner_may_have_half_of_what_waits(
    serve: Callable[..., Served], another: Callable[..., Client]
) -> None:
    served = serve(COWORK_WAITING_TURNS="4", COWORK_API_KEYS=f"alice={KEY},robot={OTHER}")
    alice, robot = another(served, KEY), another(served, OTHER)
    with alice.stream("[[words 1]] [[stall]] ", "p1"), alice.stream("[[words 1]] [[stall]] ", "p2"):
        assert int(alice.ask("hi", "p3").headers["Retry-After"]) >= 1
        problem(alice.ask("hi", "p3"), 429, "queue_full")
        with (
            robot.stream("[[words 1]] [[stall]] ", "q1", on_busy="queue"),
            robot.stream("hi", "q2"),
        ):
            pass
        for client in (alice, robot):
            client.delete("/sessions/p1")
            client.delete("/sessions/q1")
        wait_for(lambda: alice.get("/health").json()["turns"] <= 1)
        assert alice.ask("hi", "p3").status_code == 200


def test_fault_s4_what_waits_of_all_owners_is_bounded_by_bytes(
    serve: Callable[..., Served],
) -> None:
    served = serve(COWORK_WAITING_BYTES=str(MIB))
    large = "[[words 1]] [[stall]] " + "x" * (600 * 1024)
    with served.stream(large, "p1"):
        refused = served.ask(large, "p2")
        assert int(refused.headers["Retry-After"]) >= 1
        problem(refused, 503, "at_capacity")
        assert served.ask("hi", "p2").status_code == 200
    served.delete("/sessions/p1")
    wait_for(lambda: served.get("/health").json()["turns"] == 0)
    assert served.ask("[[words 2]]" + "x" * (600 * 1024), "p2").status_code == 200


def test_fault_s4_a_refused_turn_takes_no_room(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_WAITING_TURNS="2")
    with served.stream("[[words 1]] [[stall]] ", "p"):
        for _ in range(5):
            problem(served.ask("hi", "p", on_busy="reject"), 409, "project_busy")
        assert served.ask("hi", "q").status_code == 200
        served.delete("/sessions/p")
