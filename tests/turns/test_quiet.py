"""A stream whose turn says much, but nothing that this client asked for, is not silent."""

from __future__ import annotations

from collections.abc import Callable

from tests.fakes import Fakes
from tests.serving import Served, wait_for
from tests.turns.raw_client import Line


def test_events_that_a_client_did_not_ask_for_do_not_replace_keep_alives(
    serve: Callable[..., Served],
) -> None:
    served = serve(COWORK_KEEPALIVE="0.1", COWORK_FIRST_EVENT_WAIT="0.1")
    with served.stream("[[think 15]] [[delay 50]] [[words 1]]") as reply:
        comments = sum(line.startswith(b":") for line in reply.iter_lines(chunk_size=1))
    assert comments >= 3


def test_a_client_that_leaves_during_events_it_did_not_ask_for_is_noticed(
    serve: Callable[..., Served], fakes: Fakes, dial: Callable[..., Line]
) -> None:
    served = serve(**fakes.settings(), COWORK_DISCONNECT_GRACE="0", COWORK_FIRST_EVENT_WAIT="0.1")
    body = {"project_name": "p", "question": "[[think 400]] [[delay 25]] [[words 1]]"}
    line = dial(served, "/ask_question_streaming", body)
    fakes.wait_asked()
    line.close()
    wait_for(lambda: served.services.turn_service.busy() == 0, timeout=5, what="the turn's end")


def test_a_turn_that_waits_for_a_process_is_ended_at_its_own_time_limit(
    serve: Callable[..., Served],
) -> None:
    served = serve(COWORK_MAX_PROCESSES="1", COWORK_QUEUE_TIMEOUT="20")
    with served.stream("[[hang]]", "first", events=["status"]) as first:
        late = served.ask("hello", "second", timeout=0.3)
        assert late.status_code == 504
        assert late.json()["detail"]["code"] == "claude_timeout"
        served.post(f"/turns/{first.headers['X-Turn-ID']}/interrupt")


def test_a_turn_that_waits_for_a_process_is_interrupted_at_once(
    serve: Callable[..., Served],
) -> None:
    served = serve(COWORK_MAX_PROCESSES="1", COWORK_QUEUE_TIMEOUT="20", COWORK_FIRST_EVENT_WAIT="0")
    with (
        served.stream("[[hang]]", "first", events=["status"]) as first,
        served.stream("hello", "second") as second,
    ):
        turn = second.headers["X-Turn-ID"]
        assert served.post(f"/turns/{turn}/interrupt").json()["state"] == "interrupted"
        served.post(f"/turns/{first.headers['X-Turn-ID']}/interrupt")


def test_a_key_whose_question_was_never_asked_asks_again(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_MAX_PROCESSES="1", COWORK_QUEUE_TIMEOUT="0.1")
    key = {"Idempotency-Key": "again"}
    body = {"project_name": "second", "question": "hello"}
    with served.stream("[[hang]]", "first", events=["status"]) as first:
        assert served.post("/ask_question", body, headers=key).status_code == 503
        served.post(f"/turns/{first.headers['X-Turn-ID']}/interrupt")
    wait_for(lambda: served.services.turn_service.busy() == 0, what="the first turn's end")
    assert served.post("/ask_question", body, headers=key).status_code == 200
