"""What outlives the server on a durable store: sessions, the login, answers, the truth of a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.background import BackgroundCalls
from tests.contract.replies import problem
from tests.fakes import Fakes
from tests.patience import PATIENCE_S
from tests.redis_server import RedisServer
from tests.serving import ROOT, Client, Gunicorn, Served, frames, free_port, joined, wait_for
from tests.turns.raw_client import last_frame, question, turn_of

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


def test_fault_t14_what_another_process_runs_is_not_said_to_be_interrupted_or_deleted(
    serve: Serve,
    gunicorn: Callable[..., Gunicorn],
    stored: dict[str, str],
    fakes: Fakes,
    background: BackgroundCalls,
) -> None:
    one = gunicorn(**stored, **fakes.settings())
    # It streams another process's turn in silence.
    two = serve(**stored, **fakes.settings(), COWORK_FIRST_EVENT_WAIT="0.1")
    first = one.ask("hi").json()
    asked = background(
        one.post,
        "/ask_question",
        question("[[delay 100]] [[words 25]]"),
        headers=KEY,
    )
    fakes.wait_asked(2)
    calls = [
        two.post("/sessions/p/interrupt"),
        two.delete("/sessions/p"),
        two.post("/sessions/p/warm"),
    ]
    for reply in calls:
        problem(reply, 503, "worker_unreachable")
        assert int(reply.headers["Retry-After"]) >= 1
    body = question("quick")
    busy = two.post("/ask_question", {**body, "on_busy": "reject"})
    problem(busy, 409, "project_busy")
    problem(two.post("/ask_question", {**body, "on_busy": "interrupt"}), 503, "worker_unreachable")
    assert len(fakes.asked) == 2
    # The turn's id is known to both through the key.
    with two.post(
        "/ask_question_streaming", question("[[delay 100]] [[words 25]]"), headers=KEY, stream=True
    ) as stream:
        turn_id = stream.headers["X-Turn-ID"]
        problem(two.post(f"/turns/{turn_id}/interrupt"), 503, "worker_unreachable")
    answer = asked.result()
    assert answer.json()["message"].endswith("w25")
    assert two.get("/sessions").json()["sessions"] == {"p": first["session_id"]}
    assert two.post(f"/turns/{turn_id}/interrupt").json()["state"] == "succeeded"
    assert two.post("/sessions/p/interrupt").json()["success"] is False
    assert two.delete("/sessions/p").json()["success"] is True
    assert one.get("/sessions").json()["count"] == 0


SEVERAL = {
    "COWORK_WORKERS": "2",
    "WEB_CONCURRENCY": "2",
    "GUNICORN_CMD_ARGS": "--workers 2",
}


@pytest.mark.parametrize("how", [*SEVERAL, "--workers=2"])
@pytest.mark.parametrize("store", ["memory://", "sqlite:///{}/state.db"])
def test_fault_t14_several_workers_are_refused_where_they_could_not_know_of_each_other(
    fake_environ: dict[str, str], tmp_path: Path, how: str, store: str
) -> None:
    store = store.format(tmp_path)
    environ = {**fake_environ, "PORT": str(free_port()), "PYTHONPATH": str(ROOT)}
    environ["COWORK_STORE"] = store
    command = [sys.executable, "-m", "cowork"]
    if how in SEVERAL:
        environ[how] = SEVERAL[how]
    else:
        command.append(how)
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if f"COWORK_STORE={store[:6]}" in line]
    assert len(said) == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert "worker" not in done.stdout.lower().replace("--workers", "")


def test_fault_t14_several_workers_are_served_on_a_store_that_can_be_shared(
    gunicorn: Callable[..., Gunicorn], redis_server: RedisServer
) -> None:
    server = gunicorn(COWORK_STORE=redis_server.url, COWORK_WORKERS="2")
    wait_for(lambda: len(server.workers()) == 2, what="two workers")
    assert server.ask("hi").status_code == 200


def test_a_second_server_on_one_file_is_refused_and_a_new_one_after_a_kill_is_not(
    gunicorn: Callable[..., Gunicorn], fake_environ: dict[str, str], tmp_path: Path
) -> None:
    store = {"COWORK_STORE": f"sqlite://{tmp_path}/state.db"}
    first = gunicorn(**store)
    environ = {**fake_environ, **store, "PORT": str(free_port()), "PYTHONPATH": str(ROOT)}
    second = subprocess.run(
        [sys.executable, "-m", "cowork"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert f"another server (process {first.child.pid}) uses" in second.stderr
    assert "Traceback" not in second.stderr
    first.send_signal(signal.SIGHUP)  # its two workers are no second server
    assert first.ask("hi").status_code == 200
    first.child.kill()
    first.child.wait()
    assert gunicorn(**store).ask("hi").status_code == 200


def test_fault_t14_a_signal_makes_no_second_worker_on_memory(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    server = gunicorn()
    server.child.send_signal(signal.SIGTTIN)
    wait_for(lambda: "COWORK_STORE=memory://" in server.log.read_text(), what="the line")
    assert len(server.workers()) == 1
    assert server.ask("hi").status_code == 200


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


def test_a_fork_and_a_rewind_are_replayed_after_a_restart_and_what_failed_is_not(
    serve: Serve, stored: dict[str, str], fakes: Fakes
) -> None:
    settings = {**stored, **fakes.settings()}
    lost = {"Idempotency-Key": "k-lost"}
    before = serve(**settings)
    problem(before.post("/sessions/p/fork", {"to": "q"}, headers=lost), 404, "session_not_found")
    turn_id = before.ask("one").json()["turn_id"]
    before.ask("two")
    body = {"to_turn": turn_id}
    rewound = before.post("/sessions/p/rewind", body, headers=KEY)
    assert rewound.status_code == 200, rewound.text
    before.close()
    after = serve(**settings)
    again = after.post("/sessions/p/rewind", body, headers=KEY)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.json()) == (200, rewound.json())
    problem(
        after.post("/sessions/p/rewind", {"to_turn": "x"}, headers=KEY), 422, "idempotency_mismatch"
    )
    assert after.get("/sessions/p").json()["session_id"] == rewound.json()["session_id"]
    made = after.post("/sessions/p/fork", {"to": "q"}, headers=lost)
    assert made.status_code == 201, made.text
    assert "Idempotent-Replayed" not in made.headers
    assert after.ask("[[count]] x", "q").json()["message"] == "I see 2 questions: one | x"


def test_a_rewind_that_waited_when_its_worker_was_killed_has_changed_nothing(
    gunicorn: Callable[..., Gunicorn],
    stored: dict[str, str],
    fakes: Fakes,
    background: BackgroundCalls,
) -> None:
    server = gunicorn(**stored, **fakes.settings())
    first = server.ask("one").json()
    running = background(server.ask, "[[hang]]")
    fakes.wait_asked(2)
    body = {"to_turn": first["turn_id"]}
    waiting = background(server.post, "/sessions/p/rewind", body, headers=KEY)
    wait_for(lambda: server.get("/sessions/p").json()["queued"] == 1, what="a rewind that waits")
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    for call in (running, waiting):
        with pytest.raises(OSError):  # noqa: PT011 - its connection is gone
            call.result(PATIENCE_S)
    server.wait_live()

    assert server.get("/sessions/p").json()["session_id"] == first["session_id"]

    def made() -> bool:
        # A retry that comes before the end of what was lost is told of that.
        reply = server.post("/sessions/p/rewind", body, headers=KEY)
        assert reply.status_code in {200, 502}, reply.text
        return reply.status_code == 200

    # It had not begun, so that its key makes it now.
    wait_for(made, PATIENCE_S, "the rewind")
    assert server.get("/sessions/p").json()["session_id"] != first["session_id"]


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
    gunicorn: Callable[..., Gunicorn], stored: dict[str, str], fakes: Fakes, background: Callable
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
        following = background(client.ask, "[[count]] next")
        with Client(server.url).get(f"/turns/{turn_id}/events", stream=True) as events:
            told = list(frames(events))
        rest = list(reading)
    assert told[-1] == rest[-1]
    assert joined(told) == " ".join(f"w{n}" for n in range(1, 61))
    assert following.result(PATIENCE_S).json()["message"].startswith("I see 2 questions: ")
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


def test_a_turn_that_a_shutdown_cuts_off_after_it_was_asked_is_not_asked_again_by_its_key(
    gunicorn: Callable[..., Gunicorn],
    stored: dict[str, str],
    fakes: Fakes,
    background: BackgroundCalls,
) -> None:
    settings = {**stored, **fakes.settings(), "COWORK_GRACEFUL_TIMEOUT": "5"}
    first = gunicorn(**settings)
    asked = background(first.post, "/ask_question", question("[[stall]]"), headers=KEY)
    fakes.wait_asked(1)
    first.stop()
    problem(asked.result(), 503, "shutting_down")
    again = gunicorn(**settings).post("/ask_question", question("[[stall]]"), headers=KEY)
    problem(again, 503, "shutting_down")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(fakes.asked) == 1
