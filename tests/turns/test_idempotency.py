"""`Idempotency-Key`: a retry finds its first turn."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.background import BackgroundCalls
from tests.contract.replies import ASK_PATHS, invalid, problem
from tests.fakes import Fakes
from tests.serving import Client, Served, frames, joined, wait_for
from tests.turns.raw_client import last_frame, question, turn_of

KEY = {"Idempotency-Key": "k-1"}
ALICE, BOB = "alice-" + "a" * 32, "bob-" + "b" * 32


def test_t22_ten_equal_questions_at_once_are_one_turn_and_get_ten_equal_answers(
    logged: Served, fakes: Fakes, background: BackgroundCalls
) -> None:
    body = question("[[words 20]] [[delay 20]]")
    calls = [background(logged.post, "/ask_question", body, headers=KEY) for _ in range(10)]
    replies = [call.result(20) for call in calls]
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.text for reply in replies}) == 1
    assert len({reply.headers["X-Turn-ID"] for reply in replies}) == 1
    assert len(fakes.asked) == 1
    first = [reply for reply in replies if "Idempotent-Replayed" not in reply.headers]
    assert len(first) == 1
    assert all(
        reply.headers["Idempotent-Replayed"] == "true" for reply in replies if reply not in first
    )


def test_ten_equal_streaming_questions_at_once_are_one_turn_and_ten_equal_streams(
    logged: Served, fakes: Fakes, background: BackgroundCalls
) -> None:
    body = question("[[words 20]] [[delay 20]]")

    def read() -> list[object]:
        with logged.post("/ask_question_streaming", body, headers=KEY, stream=True) as reply:
            return list(frames(reply))

    streams = [call.result(20) for call in [background(read) for _ in range(10)]]
    assert all(seen == streams[0] for seen in streams)
    assert joined(streams[0]) == " ".join(f"w{n}" for n in range(1, 21))
    assert len(fakes.asked) == 1


def test_a_retry_after_the_answer_gets_it_again_and_is_told_so(
    logged: Served, fakes: Fakes
) -> None:
    first = logged.post("/ask_question", question("hi"), headers=KEY)
    again = logged.post("/ask_question", question("hi"), headers=KEY)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert again.headers["X-Turn-ID"] == first.headers["X-Turn-ID"]
    assert len(fakes.asked) == 1


def test_a_retry_of_a_running_stream_is_attached_to_it_from_its_first_frame(
    logged: Served, fakes: Fakes
) -> None:
    body = question("[[words 40]] [[delay 20]]")
    with logged.post("/ask_question_streaming", body, headers=KEY, stream=True) as first:
        reading = frames(first)
        begun = [next(reading) for _ in range(5)]
        with logged.post("/ask_question_streaming", body, headers=KEY, stream=True) as again:
            assert again.headers["Idempotent-Replayed"] == "true"
            assert list(frames(again)) == [*begun, *reading]
    assert len(fakes.asked) == 1


def test_a_retry_finds_its_turn_from_either_endpoint(logged: Served, fakes: Fakes) -> None:
    whole = logged.post("/ask_question", question("[[words 9]]"), headers=KEY)
    with logged.post(
        "/ask_question_streaming", question("[[words 9]]"), headers=KEY, stream=True
    ) as reply:
        assert reply.headers["Idempotent-Replayed"] == "true"
        assert joined(list(frames(reply))) == whole.json()["message"]
    assert len(fakes.asked) == 1


def test_a_retry_whose_first_client_has_left_gets_the_whole_answer(
    serve: Callable[..., Served], fakes: Fakes
) -> None:
    served = serve(**fakes.settings())
    body = question("[[words 30]] [[delay 20]]")
    with served.post("/ask_question_streaming", body, headers=KEY, stream=True) as first:
        next(frames(first))
    reply = served.post("/ask_question", body, headers=KEY)
    assert reply.json()["message"] == " ".join(f"w{n}" for n in range(1, 31))
    assert len(fakes.asked) == 1


@pytest.mark.parametrize("path", ASK_PATHS)
def test_a_key_with_another_body_is_refused_and_harms_nothing(
    path: str, logged: Served, fakes: Fakes
) -> None:
    first = logged.post("/ask_question", question("one"), headers=KEY)
    for other in (question("two"), question("one", "q"), question("one", on_busy="reject")):
        problem(logged.post(path, other, headers=KEY), 422, "idempotency_mismatch")
    assert logged.post("/ask_question", question("one"), headers=KEY).json() == first.json()
    assert fakes.asked == ["one"]


def test_the_order_of_a_bodys_keys_does_not_make_it_another(logged: Served) -> None:
    logged.post("/ask_question", question("one"), headers=KEY)
    turned = dict(reversed(question("one").items()))
    assert logged.post("/ask_question", turned, headers=KEY).status_code == 200


@pytest.mark.parametrize("path", ASK_PATHS)
def test_a_retry_of_a_failed_turn_gets_the_same_failure(
    path: str, logged: Served, fakes: Fakes
) -> None:
    body = question("[[fail 529]]")
    first = logged.post(path, body, headers=KEY)
    again = logged.post(path, body, headers=KEY)
    problem(first, 503, "claude_overloaded")
    problem(again, 503, "claude_overloaded")
    assert again.json() == first.json()
    assert again.headers["X-Turn-ID"] == first.headers["X-Turn-ID"]
    assert len(fakes.asked) == 1
    assert again.headers.get("Idempotent-Replayed") == "true"


def test_a_question_that_was_never_accepted_leaves_its_key_free(logged: Served) -> None:
    with logged.stream("[[hang]]", events=["status"]) as running:
        body = question("hi", on_busy="reject")
        problem(logged.post("/ask_question", body, headers=KEY), 409, "project_busy")
        logged.post(f"/turns/{running.headers['X-Turn-ID']}/interrupt")
        wait_for(
            lambda: logged.post("/ask_question", body, headers=KEY).status_code == 200,
            what="the same question's acceptance",
        )


def test_a_key_is_its_callers_own(
    serve: Callable[..., Served], another: Callable[..., Client]
) -> None:
    served = serve(COWORK_API_KEYS=f"alice={ALICE},bob={BOB}")
    alice, bob = another(served, ALICE), another(served, BOB)
    hers = alice.post("/ask_question", question("hers"), headers=KEY)
    his = bob.post("/ask_question", question("his"), headers=KEY)
    assert hers.json()["message"] == "You said: hers"
    assert his.json()["message"] == "You said: his"
    assert "Idempotent-Replayed" not in his.headers


def test_a_key_is_forgotten_with_its_turn(serve: Callable[..., Served], fakes: Fakes) -> None:
    served = serve(**fakes.settings(), COWORK_TURN_RETENTION="1")
    first = served.post("/ask_question", question("hi"), headers=KEY)
    turn_id = first.headers["X-Turn-ID"]
    wait_for(lambda: served.get(f"/turns/{turn_id}").status_code == 410, what="the forgetting")
    again = served.post("/ask_question", question("hi"), headers=KEY)
    assert again.status_code == 200
    assert again.headers["X-Turn-ID"] != turn_id
    assert len(fakes.asked) == 2


@pytest.mark.parametrize("key", ["", "k" * 256, "kö"], ids=["empty", "long", "not ascii"])
def test_a_key_that_is_none_is_a_fault_of_the_request(key: str, served: Served) -> None:
    headers = {"Idempotency-Key": key.encode()}
    invalid(served.post("/ask_question", question("hi"), headers=headers), "header")


def test_an_interrupted_turns_retry_does_not_ask_again(logged: Served, fakes: Fakes) -> None:
    body = question("[[words 500]] [[delay 20]]")
    with logged.post("/ask_question_streaming", body, headers=KEY, stream=True) as reply:
        reading = frames(reply)
        next(reading)
        logged.post(f"/turns/{reply.headers['X-Turn-ID']}/interrupt")
        seen = list(reading)
    assert last_frame(seen)["success"] is False
    problem(logged.post("/ask_question", body, headers=KEY), 409, "turn_interrupted")
    assert turn_of(logged, reply.headers["X-Turn-ID"])["state"] == "interrupted"
    assert len(fakes.asked) == 1
