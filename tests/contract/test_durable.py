"""What outlives the server on a durable store: sessions, the login, answers, the truth of a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.replies import problem
from tests.fakes import Fakes
from tests.serving import ROOT, Client, Gunicorn, Served, frames, free_port, joined, wait_for
from tests.turns.line import last_frame, question, turn_of

KEY = {"Idempotency-Key": "k-1"}
Serve = Callable[..., Served]


@pytest.fixture
def stored(tmp_path: Path) -> dict[str, str]:
    """The setting of a store in a file."""
    return {"COWORK_STORE": f"sqlite://{tmp_path}/state/cowork.db"}


def test_a_session_goes_on_after_a_restart_in_its_directory(
    serve: Serve, stored: dict[str, str], fakes: Fakes
) -> None:
    settings = {**stored, **fakes.settings(), "COWORK_PROJECT_DIRS": "true"}
    before = serve(**settings)
    first = before.ask("one").json()
    folder = before.ask("[[cwd]]").json()["message"]
    before.close()
    after = serve(**settings)
    assert after.get("/sessions").json()["sessions"] == {"p": first["session_id"]}
    said = after.ask("[[count]] three").json()
    assert said["message"].startswith("I see 3 questions: one")
    assert said["is_new_session"] is False
    assert said["session_id"] == first["session_id"]
    assert after.ask("[[cwd]]").json()["message"] == folder
    assert f"--resume={first['session_id']}" in fakes.entries("start")[-1]["argv"]


def test_an_answer_is_given_again_after_a_restart_whole_and_as_a_stream(
    serve: Serve, stored: dict[str, str], fakes: Fakes
) -> None:
    settings = {**stored, **fakes.settings()}
    before = serve(**settings)
    first = before.post("/ask_question", question("[[words 5]]"), headers=KEY)
    turn_id = first.headers["X-Turn-ID"]
    state = turn_of(before, turn_id)
    with before.get(f"/turns/{turn_id}/events", stream=True) as reply:
        seen = list(frames(reply))
    before.close()
    after = serve(**settings)
    again = after.post("/ask_question", question("[[words 5]]"), headers=KEY)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert turn_of(after, turn_id) == state
    with after.get(f"/turns/{turn_id}/events", stream=True) as reply:
        assert list(frames(reply)) == seen
    headers = {"Last-Event-ID": str(seen[2].id)}
    with after.get(f"/turns/{turn_id}/events", headers=headers, stream=True) as reply:
        assert list(frames(reply)) == seen[3:]
    mismatch = after.post("/ask_question", question("another"), headers=KEY)
    problem(mismatch, 422, "idempotency_mismatch")
    assert len(fakes.asked) == 1


def test_a_failure_is_told_again_after_a_restart(
    serve: Serve, stored: dict[str, str], fakes: Fakes
) -> None:
    settings = {**stored, **fakes.settings()}
    before = serve(**settings)
    asked = question("[[words 9]] [[fail 429]]")
    first = before.post("/ask_question", asked, headers=KEY)
    before.close()
    after = serve(**settings)
    again = after.post("/ask_question", asked, headers=KEY)
    detail = problem(again, 429, "claude_rate_limited")
    assert detail == first.json()["detail"]
    assert again.headers.get("Retry-After") == first.headers.get("Retry-After")


def test_another_owner_finds_nothing_after_a_restart(
    serve: Serve, stored: dict[str, str], another: Callable[..., Client]
) -> None:
    keys = {"COWORK_API_KEYS": f"a={'a' * 32},b={'b' * 32}"}
    before = serve(**stored, **keys)
    turn_id = another(before, "a" * 32).ask("one").headers["X-Turn-ID"]
    before.close()
    after = serve(**stored, **keys)
    problem(another(after, "b" * 32).get(f"/turns/{turn_id}"), 404, "turn_not_found")
    assert another(after, "a" * 32).get(f"/turns/{turn_id}").status_code == 200


def test_a_turn_is_forgotten_in_time_but_not_its_key(
    serve: Serve, stored: dict[str, str], fakes: Fakes
) -> None:
    settings = {**stored, **fakes.settings(), "COWORK_TURN_RETENTION": "1"}
    before = serve(**settings)
    first = before.post("/ask_question", question("hi"), headers=KEY)
    turn_id = first.headers["X-Turn-ID"]
    before.close()
    after = serve(**settings)
    wait_for(lambda: after.get(f"/turns/{turn_id}").status_code == 410, what="the forgetting")
    again = after.post("/ask_question", question("hi"), headers=KEY)
    assert again.json() == first.json()
    assert len(fakes.asked) == 1


def test_a_worker_killed_in_a_turn_leaves_the_truth(
    gunicorn: Callable[..., Gunicorn], stored: dict[str, str], fakes: Fakes
) -> None:
    server = gunicorn(**stored, **fakes.settings(), COWORK_MAX_PROCESSES="4")
    server.ask("[[words 3]]", "other")
    body = question("[[words 400]] [[delay 20]]")
    with server.post("/ask_question_streaming", body, headers=KEY, stream=True) as reply:
        turn_id = reply.headers["X-Turn-ID"]
        reading = frames(reply)
        seen = [next(reading) for _ in range(5)]
        (pid,) = server.workers()
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: pid not in server.workers() and server.workers(), what="another worker")
    server.wait_live()
    state = turn_of(server, turn_id)
    assert state["state"] == "failed"
    assert state["error"]["code"] == "worker_lost"
    problem(server.post("/ask_question", body, headers=KEY), 502, "worker_lost")
    headers = {"Last-Event-ID": str(seen[-1].id)}
    with server.get(f"/turns/{turn_id}/events", headers=headers, stream=True) as reply:
        rest = list(frames(reply))
    assert rest[0].data["code"] == "worker_lost"
    assert last_frame(rest)["success"] is False
    said = server.ask("[[count]] after").json()["message"]
    assert said.endswith("| after") or said == "I see 1 questions: after"


def test_a_reload_hands_a_project_over_and_its_turn_can_be_read_to_its_end(
    gunicorn: Callable[..., Gunicorn], stored: dict[str, str], fakes: Fakes, aside: Callable
) -> None:
    server = gunicorn(**stored, **fakes.settings())
    with server.stream("[[words 60]] [[delay 50]]") as reply:
        turn_id = reply.headers["X-Turn-ID"]
        reading = frames(reply)
        next(reading)
        (old,) = server.workers()
        server.send_signal(signal.SIGHUP)
        wait_for(lambda: set(server.workers()) - {old}, what="the new worker")
        client = Client(server.url)
        wait_for(lambda: client.get(f"/turns/{turn_id}").status_code == 200, what="an answer")
        assert turn_of(client, turn_id)["state"] == "running"
        following = aside(client.ask, "[[count]] next")
        with Client(server.url).get(f"/turns/{turn_id}/events", stream=True) as events:
            told = list(frames(events))
        rest = list(reading)
    assert told[-1] == rest[-1]
    assert joined(told) == " ".join(f"w{n}" for n in range(1, 61))
    assert following.result(30).json()["message"].startswith("I see 2 questions: ")
    client.close()


def test_a_file_that_cannot_be_used_ends_the_server_with_one_clear_line(
    fake_environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "note.db").write_text("this is no database, however long it is looked at\n" * 99)
    ended = subprocess.run(
        [sys.executable, "-m", "cowork"],
        cwd=tmp_path,
        env={
            **fake_environ,
            "COWORK_STORE": f"sqlite://{tmp_path}/note.db",
            "HOST": "127.0.0.1",
            "PORT": str(free_port()),
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        check=False,
        timeout=30,
    )
    said = ended.stdout.decode() + ended.stderr.decode()
    assert ended.returncode != 0
    assert "no database" in said
    assert "note.db" in said
    assert "Traceback" not in said
