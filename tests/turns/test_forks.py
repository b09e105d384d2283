"""Forks and rewinds beside questions: whose turn it is, and what a retry finds."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import requests

from tests.background import BackgroundCalls
from tests.contract.replies import invalid, problem
from tests.fake_claude import overlaps
from tests.fakes import Fakes
from tests.serving import Client, Served, wait_for

KEY = {"Idempotency-Key": "k-1"}
LONG = "[[words 400]] [[delay 20]] long"
ALICE, BOB = "alice-" + "a" * 32, "bob-" + "b" * 32


def asked(client: Client, *words: str, project: str = "p") -> list[str]:
    return [client.ask(f"[[say {word}]] {word}", project).json()["turn_id"] for word in words]


def rewind(client: Client, turn: str, **body: object) -> requests.Response:
    return client.post("/sessions/p/rewind", {"to_turn": turn, **body})


def queued(client: Client) -> int:
    found: int = client.get("/sessions/p").json()["queued"]
    return found


def test_one_waits_for_the_project_and_the_next_question_for_it(
    logged: Served, fakes: Fakes, background: BackgroundCalls
) -> None:
    (first,) = asked(logged, "one")
    running = background(logged.ask, "[[pause 800]] two")
    fakes.wait_asked(2)
    waiting = background(rewind, logged, first)
    wait_for(lambda: queued(logged) == 1, what="a rewind that waits")
    after = background(logged.ask, "[[count]] three")
    assert running.result(10).status_code == 200
    assert waiting.result(10).status_code == 200
    assert after.result(10).json()["message"] == "I see 2 questions: one | three"
    assert overlaps(fakes.log) == []


def test_a_fork_waits_for_its_source_and_then_has_all_of_it(
    logged: Served, fakes: Fakes, background: BackgroundCalls
) -> None:
    asked(logged, "one")
    running = background(logged.ask, "[[pause 500]] two")
    fakes.wait_asked(2)
    made = logged.post("/sessions/p/fork", {"to": "q"})
    assert made.status_code == 201
    assert running.result(10).status_code == 200
    assert logged.ask("[[count]] x", "q").json()["message"].startswith("I see 3 questions")


@pytest.mark.parametrize("kind", ["fork", "rewind"])
def test_a_busy_project_is_rejected_or_interrupted_as_by_a_question(
    kind: str, logged: Served, fakes: Fakes, background: BackgroundCalls
) -> None:
    (first,) = asked(logged, "one")
    running = background(logged.ask, LONG)
    fakes.wait_asked(2)
    body = {"to": "q", "at_turn": first} if kind == "fork" else {"to_turn": first}
    refused = logged.post(f"/sessions/p/{kind}", {**body, "on_busy": "reject"})
    problem(refused, 409, "project_busy")
    assert not running.done()
    made = logged.post(f"/sessions/p/{kind}", {**body, "on_busy": "interrupt"})
    assert made.ok, made.text
    problem(running.result(10), 409, "turn_interrupted")
    # Idle again, `reject` has nothing to reject.
    if kind == "rewind":
        assert rewind(logged, first, on_busy="reject").status_code == 200


def test_a_target_that_is_being_answered_is_refused_at_once(
    logged: Served, fakes: Fakes, background: BackgroundCalls
) -> None:
    asked(logged, "one")
    running = background(logged.ask, LONG, "q")
    fakes.wait_asked(2)
    problem(logged.post("/sessions/p/fork", {"to": "q"}), 409, "session_exists")
    logged.post("/sessions/q/interrupt")
    running.result(10)


def test_a_full_queue_refuses_it_too(
    serve: Callable[..., Served], fakes: Fakes, background: BackgroundCalls
) -> None:
    served = serve(COWORK_QUEUE_LIMIT="1", **fakes.settings())
    (first,) = asked(served, "one")
    calls = [background(served.ask, LONG)]
    fakes.wait_asked(2)
    calls.append(background(rewind, served, first))
    wait_for(lambda: queued(served) == 1, what="a full queue")
    problem(rewind(served, first), 429, "queue_full")
    served.post("/sessions/p/interrupt")
    assert [call.result(10).status_code for call in calls] == [409, 200]


def test_a_client_that_leaves_gives_its_place_back(
    logged: Served, fakes: Fakes, background: BackgroundCalls
) -> None:
    (first,) = asked(logged, "one")
    before = logged.get("/sessions/p").json()["session_id"]
    running = background(logged.ask, LONG)
    fakes.wait_asked(2)
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(f"{logged.url}/sessions/p/rewind", json={"to_turn": first}, timeout=2)
    wait_for(lambda: queued(logged) == 0, what="its place")
    logged.post("/sessions/p/interrupt")
    running.result(10)
    assert logged.get("/sessions/p").json()["session_id"] == before


def test_the_wait_is_bounded_and_says_so(serve: Callable[..., Served], fakes: Fakes) -> None:
    served = serve(CLAUDE_TIMEOUT="2", **fakes.settings())
    (first,) = asked(served, "one")
    # Nobody bounds a stream but its silence.
    with served.stream("[[words 400]] [[delay 20]]") as stream:
        next(stream.iter_lines())
        refused = rewind(served, first)
        problem(refused, 409, "project_busy")
        assert refused.headers["Retry-After"]
        assert queued(served) == 0
        served.post("/sessions/p/interrupt")


def test_a_deleted_session_is_not_rewound(
    logged: Served, fakes: Fakes, background: BackgroundCalls
) -> None:
    (first,) = asked(logged, "one")
    running = background(logged.ask, LONG)
    fakes.wait_asked(2)
    waiting = background(rewind, logged, first)
    wait_for(lambda: queued(logged) == 1, what="a rewind that waits")
    assert logged.delete("/sessions/p").json()["success"] is True
    problem(waiting.result(10), 409, "turn_interrupted")
    running.result(10)
    assert logged.get("/sessions/p").status_code == 404


def test_a_server_that_stops_says_so_to_those_who_wait(
    logged: Served, fakes: Fakes, background: BackgroundCalls
) -> None:
    (first,) = asked(logged, "one")
    running = background(logged.ask, LONG)
    fakes.wait_asked(2)
    waiting = background(rewind, logged, first)
    wait_for(lambda: queued(logged) == 1, what="a rewind that waits")
    threading.Thread(target=logged.services.close).start()
    problem(waiting.result(20), 503, "shutting_down")
    running.result(20)


def test_t22_a_retry_finds_what_its_first_try_has_made(logged: Served) -> None:
    first, _ = asked(logged, "one", "two")
    body = {"to_turn": first}
    made = logged.post("/sessions/p/rewind", body, headers=KEY)
    again = logged.post("/sessions/p/rewind", body, headers=KEY)
    assert "Idempotent-Replayed" not in made.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.json()) == (200, made.json())
    assert logged.get("/sessions/p").json()["session_id"] == made.json()["session_id"]
    # A key is one thing's, whatever it is.
    for path, other in (
        ("/sessions/p/rewind", {**body, "on_busy": "reject"}),
        ("/sessions/q/rewind", body),
        ("/sessions/p/fork", {"to": "q"}),
        ("/ask_question", {"project_name": "p", "question": "hi"}),
    ):
        problem(logged.post(path, other, headers=KEY), 422, "idempotency_mismatch")
    forked = {"Idempotency-Key": "k-2"}
    made = logged.post("/sessions/p/fork", {"to": "q"}, headers=forked)
    again = logged.post("/sessions/p/fork", {"to": "q"}, headers=forked)
    assert (again.status_code, again.json()) == (201, made.json())


def test_t22_ten_at_once_are_one(logged: Served, background: BackgroundCalls) -> None:
    asked(logged, "one")
    calls = [
        background(logged.post, "/sessions/p/fork", {"to": "q"}, headers=KEY) for _ in range(10)
    ]
    replies = [call.result(20) for call in calls]
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.text for reply in replies}) == 1
    assert sum("Idempotent-Replayed" in reply.headers for reply in replies) == 9


def test_what_has_failed_is_tried_again_by_its_key(logged: Served) -> None:
    reply = logged.post("/sessions/p/fork", {"to": "q"}, headers=KEY)
    problem(reply, 404, "session_not_found")
    asked(logged, "one")
    made = logged.post("/sessions/p/fork", {"to": "q"}, headers=KEY)
    assert made.status_code == 201
    assert "Idempotent-Replayed" not in made.headers
    lost = {"Idempotency-Key": "k-2"}
    for _ in range(2):
        reply = logged.post("/sessions/p/rewind", {"to_turn": "nobody"}, headers=lost)
        (fault,) = invalid(reply)
        assert fault["loc"] == ["body", "to_turn"]


def test_t10_another_keys_session_and_idempotency_key_are_not_there(
    serve: Callable[..., Served], fakes: Fakes, another: Callable[..., Client]
) -> None:
    keys = {"COWORK_API_KEYS": f"alice={ALICE},bob={BOB}", "COWORK_CHECKPOINTS": "true"}
    served = serve(**keys, **fakes.settings())
    alice, bob = another(served, ALICE), another(served, BOB)
    first, _ = asked(alice, "one", "two")
    for mode in ("keep", "preview", "restore"):
        problem(rewind(bob, first, files=mode), 404, "session_not_found")
    problem(bob.post("/sessions/p/fork", {"to": "q"}), 404, "session_not_found")
    asked(bob, "mine")
    for mode in ("keep", "preview", "restore"):
        (fault,) = invalid(rewind(bob, first, files=mode))
        assert fault["loc"] == ["body", "to_turn"]
    (fault,) = invalid(bob.post("/sessions/p/fork", {"to": "q", "at_turn": first}))
    assert fault["loc"] == ["body", "at_turn"]
    made = alice.post("/sessions/p/fork", {"to": "q"}, headers=KEY)
    assert made.status_code == 201
    theirs = bob.post("/sessions/p/fork", {"to": "q"}, headers=KEY)
    assert theirs.status_code == 201
    assert "Idempotent-Replayed" not in theirs.headers
    assert theirs.json()["session_id"] != made.json()["session_id"]
    assert not [each for each in fakes.entries("control") if "rewind" in str(each["request"])]
