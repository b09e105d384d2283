"""`GET /turns/{turn_id}`: what a turn is at, while it runs and after."""

from __future__ import annotations

from datetime import datetime

from tests.contract.replies import is_moment, is_uuid
from tests.serving import Served, frames, wait_for
from tests.turns.raw_client import turn_of


def test_a_turn_that_waits_is_queued(served: Served) -> None:
    with served.stream("[[hang]]", events=["status"]) as running, served.stream("hi") as waiting:
        turn = turn_of(served, waiting.headers["X-Turn-ID"])
        assert turn["state"] == "queued"
        assert turn["message"] == ""
        assert is_moment(turn["created_at"])
        assert [turn[name] for name in ("started_at", "ended_at", "usage", "error")] == [None] * 4
        served.post(f"/turns/{running.headers['X-Turn-ID']}/interrupt")
        assert list(frames(waiting))[-1].data["success"] is True
    assert turn_of(served, waiting.headers["X-Turn-ID"])["state"] == "succeeded"


def test_a_turn_that_runs_shows_its_text_so_far(served: Served) -> None:
    with served.stream("[[stall]] [[words 9]]") as reply:
        turn_id = reply.headers["X-Turn-ID"]
        wait_for(lambda: turn_of(served, turn_id)["message"] == "w1 w2 w3 ", what="three words")
        turn = turn_of(served, turn_id)
        assert turn["state"] == "running"
        assert turn["project_id"] == "p"
        assert is_moment(turn["started_at"])
        assert [turn[name] for name in ("ended_at", "duration_ms", "error")] == [None] * 3
        served.post(f"/turns/{turn_id}/interrupt")


def test_a_turn_that_succeeded_shows_its_answer_usage_and_times(served: Served) -> None:
    reply = served.ask("[[words 3]]")
    turn = turn_of(served, reply.headers["X-Turn-ID"])
    assert turn["state"] == "succeeded"
    assert turn["message"] == "w1 w2 w3"
    assert is_uuid(turn["session_id"])
    assert turn["is_new_session"] is True
    assert turn["usage"]["output_tokens"] >= 0
    assert turn["total_cost_usd"] >= 0
    assert turn["duration_ms"] >= 0
    assert turn["error"] is None
    times = [datetime.fromisoformat(turn[f"{name}_at"]) for name in ("created", "started", "ended")]
    assert times == sorted(times)
    assert all(time.tzinfo is not None for time in times)


def test_a_turn_that_failed_shows_why_and_the_text_before(served: Served) -> None:
    turn = turn_of(served, served.ask("[[die]] [[words 9]]").headers["X-Turn-ID"])
    assert turn["state"] == "failed"
    assert turn["message"] == "w1 w2 w3 "
    assert turn["error"]["code"] == "claude_failed"
    assert turn["error"]["error"]
    assert is_moment(turn["ended_at"])


def test_a_turn_that_was_interrupted_shows_that_and_the_text_before(served: Served) -> None:
    with served.stream("[[stall]] [[words 9]]") as reply:
        turn_id = reply.headers["X-Turn-ID"]
        reading = frames(reply)
        for _ in range(3):
            next(reading)
        assert served.post(f"/turns/{turn_id}/interrupt").json()["state"] == "interrupted"
    turn = turn_of(served, turn_id)
    assert turn["state"] == "interrupted"
    assert turn["message"] == "w1 w2 w3 "
    assert turn["error"]["code"] == "turn_interrupted"
