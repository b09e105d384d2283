"""The list "What the old service got wrong, and ours must not", one by one."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests import processes
from tests.background import BackgroundCalls
from tests.contract.replies import JSON, delete, problem, send
from tests.fake_claude import Lifelines, overlaps
from tests.fakes import Fakes
from tests.serving import ROOT, Client, Served, frames, joined, wait_for
from tests.upstream import Upstream, fails, hangs

Another = Callable[..., Client]
KEY = "canary-api-key-0123456789-0123456789"
SECRETS = {
    "CHAT_API_TOKEN": "canary-chat-token",
    "XO_AUTH_SESSION_ID": "canary-auth-session",
    "XO_POLL_TOKEN": "canary-poll-token",
    "COWORK_API_KEYS": f"me={KEY}",
    "SOME_OTHER_SECRET": "canary-other",
    "AWS_SECRET_ACCESS_KEY": "canary-aws",
    "GUNICORN_CMD_ARGS": "--name canary-gunicorn",
}


def test_01_two_first_questions_at_once_made_two_sessions(
    logged: Served, background: BackgroundCalls, another: Another
) -> None:
    questions = [f"[[pause 50]] context {number}" for number in range(3)]
    asked = [background(another(logged).ask, question) for question in questions]
    assert len({one.result().json()["session_id"] for one in asked}) == 1
    remembered = logged.ask("[[count]] last").json()["message"]
    assert remembered.startswith("I see 4 questions")
    assert all(f"context {number}" in remembered for number in range(3))


def test_02_two_questions_to_one_session_at_once_lost_a_turn(
    logged: Served, fakes: Fakes, background: BackgroundCalls, another: Another
) -> None:
    logged.ask("first")
    asked = [
        background(another(logged).ask, f"[[pause 50]] context {number}") for number in range(3)
    ]
    assert {one.result().status_code for one in asked} == {200}
    assert overlaps(fakes.log) == []
    assert fakes.entries("overlap") == []
    assert logged.ask("[[count]] last").json()["message"].startswith("I see 5 questions")


def test_03_a_delete_during_a_turn_was_undone_and_did_not_stop_it(
    logged: Served, fakes: Fakes, background: BackgroundCalls, another: Another
) -> None:
    asked = background(another(logged).ask, "[[delay 50]] [[words 200]]")
    queued = background(another(logged).ask, "[[words 2]]")
    fakes.wait_asked()
    begun = time.monotonic()
    assert delete(logged, "p").json()["success"] is True
    outcomes = {asked.result().status_code, queued.result().status_code}
    assert time.monotonic() - begun < 5
    assert 409 in outcomes
    assert outcomes <= {200, 409}
    wait_for(lambda: fakes.entries("turn") or fakes.entries("exit"), what="the end of the turn")
    assert not [
        turn
        for turn in fakes.entries("turn")
        if "200" in turn["text"] and turn["outcome"] == "completed"
    ]


def test_04_a_session_without_its_transcript_failed_for_ever(
    serve: Callable[..., Served], fakes: Fakes, home: Path
) -> None:
    served = serve(COWORK_IDLE_TIMEOUT="0.2", **fakes.settings())
    served.ask("first")
    wait_for(lambda: fakes.entries("exit"), what="the end of the idle process")
    transcripts = list((home / ".claude" / "projects").rglob("*.jsonl"))
    assert transcripts
    for transcript in transcripts:
        transcript.unlink()
    reply = served.ask("[[words 2]]")
    assert reply.status_code == 200, reply.text
    assert reply.json()["message"] == "w1 w2"
    assert served.get("/sessions").json()["sessions"] == {"p": reply.json()["session_id"]}
    again = served.ask("[[count]] third").json()
    assert again["session_id"] == reply.json()["session_id"]
    assert again["is_new_session"] is False


def test_05_a_timed_out_turn_left_its_processes_running(
    serve: Callable[..., Served], fakes: Fakes, lifelines: Lifelines, upstream: Upstream
) -> None:
    served = serve(
        CLAUDE_TIMEOUT="0.5",
        COWORK_IDLE_TIMEOUT="0.2",
        CHAT_API_BASE_URL=upstream.url,
        **lifelines.environment,
        **fakes.settings(),
    )
    for scene in ("[[tool 60]]", "[[stall]] [[words 9]]"):
        problem(served.ask(scene), 504, "claude_timeout")
        assert lifelines.wait_for(0), f"{lifelines.held} processes left by {scene}"
    saved = [message["message"].strip() for message in upstream.messages]
    assert "w1 w2 w3" in saved


def test_05_a_disconnected_turn_left_its_process_and_saved_nothing(
    serve: Callable[..., Served],
    lifelines: Lifelines,
    upstream: Upstream,
    another: Another,
) -> None:
    served = serve(
        CLAUDE_TIMEOUT="2",
        COWORK_IDLE_TIMEOUT="0.2",
        COWORK_KEEPALIVE="0.1",
        CHAT_API_BASE_URL=upstream.url,
        **lifelines.environment,
    )
    with another(served).stream("[[delay 10]] [[words 60]]") as reply:
        next(frames(reply))
    wait_for(lambda: len(upstream.messages) == 2, what="the answer in the history")
    answer = upstream.messages[1]
    assert answer["message"].startswith("w1 ")
    assert answer["message"].endswith("w60") or "status" in answer
    assert lifelines.wait_for(0), f"{lifelines.held} processes left"
    assert served.ask("[[words 2]]").json()["message"] == "w1 w2"


@pytest.mark.parametrize(
    "scene", ["[[stderr 2000000]]", "[[line 65537]]", "[[line 300000]]", "[[line 5000000]]"]
)
def test_06_much_stderr_or_a_long_line_ended_the_stream(
    serve: Callable[..., Served], scene: str
) -> None:
    served = serve(CLAUDE_TIMEOUT="10")
    seen = served.streamed(f"{scene} [[words 3]]")
    assert joined(seen).endswith("w1 w2 w3")
    assert seen[-1].data["success"] is True
    assert served.ask(f"{scene} [[words 3]]").json()["message"] == joined(seen)


def test_07_a_failure_was_an_answer(connect: Callable[..., Served], upstream: Upstream) -> None:
    served = connect()
    for scene in ("[[fail 500]]", "[[fail 401]]", "[[fail refusal]]", "[[die]]", "[[kill]]"):
        assert served.ask(scene).status_code in {502, 503}
    served.ask("after")
    wait_for(lambda: any(m["message"] == "You said: after" for m in upstream.messages))
    answers = [message for message in upstream.messages if message["type"] == "agent"]
    assert [m["message"] for m in answers if "status" not in m] == ["You said: after"]


def test_08_a_question_was_an_argument(logged: Served, fakes: Fakes) -> None:
    for question in ("x" * 200_000, "-x", "--help", "-"):
        assert logged.ask(question).json()["message"] == f"You said: {question}"
        assert fakes.asked[-1] == question


def test_08_a_question_was_visible_in_ps(logged: Served, fakes: Fakes) -> None:
    secret = "a-very-private-question"
    assert secret not in logged.ask(f"[[argv]] {secret}").json()["message"]
    (start,) = fakes.entries("start")
    assert secret not in json.dumps(start["argv"])
    seen = 0
    for pid in processes.descendants(os.getpid()):
        with suppress(OSError):  # it has ended
            assert secret.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
            seen += 1
    assert seen


def test_08_a_nul_cut_the_question_short(logged: Served, fakes: Fakes) -> None:
    reply = logged.ask("before\0after")
    assert reply.status_code in {200, 422}
    assert reply.status_code == 422 or fakes.asked[0].endswith("after")


def test_09_the_reply_waited_for_the_history(
    serve: Callable[..., Served], upstream: Upstream
) -> None:
    served = serve(CHAT_API_BASE_URL=upstream.url)
    upstream.always(hangs)
    begun = time.monotonic()
    assert served.ask("hi").status_code == 200
    assert time.monotonic() - begun < 1.5


def test_09_history_was_pushed_once_and_lost(
    serve: Callable[..., Served], upstream: Upstream
) -> None:
    upstream.then(fails(503), fails(500))
    serve(CHAT_API_BASE_URL=upstream.url).ask("hi")
    wait_for(lambda: len(upstream.messages) == 2, what="the history")
    assert [message["message"] for message in upstream.messages] == ["hi", "You said: hi"]


def test_10_health_said_healthy_and_nothing_else(
    serve: Callable[..., Served], fakes: Fakes
) -> None:
    well = serve(**fakes.settings())
    wait_for(lambda: well.get("/health/ready").status_code == 200, what="the look at the CLI")
    ill = [
        serve(CLAUDE_CLI_PATH="/no/such/claude"),
        serve(**fakes.settings(start="not_logged_in", auth={"loggedIn": False})),
    ]
    for served in ill:
        served.ask("hi")
        health = served.get("/health")
        assert health.status_code == 200
        assert health.json()["status"] == "healthy"
        assert served.get("/health/live").status_code == 200
        ready = served.get("/health/ready")
        assert ready.status_code == 503
        # `/health` says beside `status` what is the matter.
        well_told = {
            name: kind for name, kind in well.get("/health").json().items() if name != "timestamp"
        }
        assert {name: health.json().get(name) for name in well_told} != well_told


def test_10_health_said_healthy_without_the_chat_api(
    serve: Callable[..., Served], upstream: Upstream
) -> None:
    served = serve(CHAT_API_BASE_URL=upstream.url)
    served.ask("hi")
    wait_for(lambda: len(upstream.messages) == 2, what="the history")
    well = served.get("/health").json()
    upstream.stop()
    served.ask("hi")
    wait_for(
        lambda: _parts(served.get("/health").json()) != _parts(well), what="the truth in /health"
    )
    assert served.get("/health").json()["status"] == "healthy"


def _parts(health: dict) -> dict:
    moving = {"timestamp", "turns", "processes"}
    return {name: value for name, value in health.items() if name not in moving}


def test_11_any_host_and_any_origin_were_served(served: Served) -> None:
    body = b'{"project_name": "p", "question": "hi"}'
    origin = {"Origin": "https://evil.example"}
    for headers in (origin, {"Host": "evil.example"}):
        reply = send(served, "POST", "/ask_question", body, {**JSON, **headers})
        assert reply.status_code == 403
    for reply in (
        send(
            served,
            "OPTIONS",
            "/ask_question",
            None,
            {**origin, "Access-Control-Request-Method": "POST"},
        ),
        send(served, "GET", "/health", None, origin),
    ):
        assert "access-control-allow-origin" not in reply.headers
        assert "access-control-allow-credentials" not in reply.headers


def test_12_the_cli_ran_in_the_servers_source(serve: Callable[..., Served], tmp_path: Path) -> None:
    folder = Path(serve().ask("[[cwd]]").json()["message"]).resolve()
    assert folder.is_relative_to((tmp_path / "workspace").resolve())
    assert not folder.is_relative_to(ROOT)


def test_12_the_cli_had_the_servers_secrets(serve: Callable[..., Served], another: Another) -> None:
    served = serve(**SECRETS)
    environment = another(served, KEY).ask("[[env]]").json()["message"]
    assert "canary" not in environment
    assert json.loads(environment).keys().isdisjoint(SECRETS)
