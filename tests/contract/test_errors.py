"""The contract's table of errors, as far as a fake CLI can provoke its rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.background import BackgroundCalls
from tests.contract.replies import delete, problem, says_nothing_private
from tests.fakes import Fakes
from tests.serving import Client, Served, frames

Another = Callable[..., Client]
SCENES = {
    "401": (503, "claude_not_authenticated"),
    "not_logged_in": (503, "claude_not_authenticated"),
    "429": (429, "claude_rate_limited"),
    "429_key": (429, "claude_rate_limited"),
    "529": (503, "claude_overloaded"),
    "500": (502, "claude_api_error"),
    "unreachable": (502, "claude_api_error"),
}
DEATHS = ["[[die]]", "[[die 137]]", "[[kill]]", "[[close]]", "[[partial]]", "[[nonsense]]"]
LATE_S = 2.0  # for a turn that may take 0.5 s
SECRET = "canary-token-0123456789-canary-0123456789"


def _next_one_works(served: Client, project: str = "p") -> None:
    reply = served.ask("[[words 3]]", project)
    assert reply.status_code == 200, reply.text
    assert reply.json()["message"] == "w1 w2 w3"


@pytest.mark.parametrize(("scene", "expected"), SCENES.items(), ids=SCENES)
def test_what_the_model_refuses_has_its_code(
    served: Served, scene: str, expected: tuple[int, str]
) -> None:
    problem(served.ask(f"[[fail {scene}]]"), *expected)
    _next_one_works(served)
    problem(served.ask(f"[[fail {scene}]]"), *expected)  # Of a session that has a past, too.


@pytest.mark.parametrize("scene", ["max_turns", "refusal"])
def test_an_answer_that_is_marked_as_an_error_is_an_error(served: Served, scene: str) -> None:
    reply = served.ask(f"[[fail {scene}]]")
    assert reply.status_code == 502
    problem(reply, 502, reply.json()["detail"]["code"])
    assert reply.json()["detail"]["code"] in {"claude_api_error", "claude_failed"}
    _next_one_works(served)


def test_a_limit_whose_end_is_known_says_when_to_come_back(served: Served) -> None:
    reply = served.ask("[[fail 429]]")
    assert 3500 <= int(reply.headers["Retry-After"]) <= 3601
    with served.stream("[[fail 429]]") as streamed:
        assert 3500 <= int(streamed.headers["Retry-After"]) <= 3601


@pytest.mark.parametrize("scene", DEATHS)
def test_a_cli_that_dies_or_raves_has_failed(served: Served, scene: str) -> None:
    problem(served.ask(f"{scene} [[words 9]]"), 502, "claude_failed")
    _next_one_works(served)


def test_a_missing_cli_is_unavailable(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve(CLAUDE_CLI_PATH="/no/such/claude")
    problem(served.ask("hi"), 503, "claude_unavailable")
    with served.stream("hi") as reply:
        problem(reply, 503, "claude_unavailable")
    plain = tmp_path / "no-program"
    plain.write_text("text")
    served = serve(CLAUDE_CLI_PATH=str(plain))
    problem(served.ask("hi"), 503, "claude_unavailable")


def test_a_cli_that_ends_at_its_start_is_unavailable(
    serve: Callable[..., Served], fakes: Fakes
) -> None:
    served = serve(**fakes.settings(start="exit:3"))
    problem(served.ask("hi"), 503, "claude_unavailable")
    fakes.settings()
    _next_one_works(served)


def test_a_cli_that_hangs_at_its_start_is_given_up(
    serve: Callable[..., Served], fakes: Fakes
) -> None:
    served = serve(CLAUDE_TIMEOUT="0.5", **fakes.settings(start="hang"))
    begun = time.monotonic()
    reply = served.ask("hi")
    assert time.monotonic() - begun < LATE_S
    assert reply.status_code in {503, 504}, reply.text
    problem(reply, reply.status_code, reply.json()["detail"]["code"])
    assert reply.json()["detail"]["code"] in {"claude_unavailable", "claude_timeout"}


def test_fault_t11_a_slow_start_is_given_the_time_that_is_set(
    serve: Callable[..., Served], fakes: Fakes
) -> None:
    served = serve(COWORK_START_TIMEOUT="60", **fakes.settings(start="slow:2500"))
    assert served.ask("hi").status_code == 200


def test_fault_t11_a_start_that_takes_too_long_names_the_setting(
    serve: Callable[..., Served], fakes: Fakes
) -> None:
    served = serve(COWORK_START_TIMEOUT="0.5", **fakes.settings(start="slow:60000"))
    refused = problem(served.ask("hi"), 503, "claude_unavailable")
    assert "within 0.5 s (COWORK_START_TIMEOUT" in refused["error"]


def test_a_cli_that_is_not_logged_in_says_so(serve: Callable[..., Served], fakes: Fakes) -> None:
    served = serve(**fakes.settings(start="not_logged_in"))
    problem(served.ask("hi"), 503, "claude_not_authenticated")
    with served.stream("hi") as reply:
        problem(reply, 503, "claude_not_authenticated")


@pytest.mark.parametrize("scene", ["[[hang]]", "[[stall]] [[words 9]]", "[[deaf]]", "[[tool 60]]"])
def test_a_turn_that_runs_out_of_time_is_504(serve: Callable[..., Served], scene: str) -> None:
    served = serve(CLAUDE_TIMEOUT="0.5")
    begun = time.monotonic()
    problem(served.ask(scene), 504, "claude_timeout")
    assert time.monotonic() - begun < LATE_S
    _next_one_works(served)


def test_an_interrupted_turn_is_409(
    logged: Served, fakes: Fakes, background: BackgroundCalls, another: Another
) -> None:
    asked = background(another(logged).ask, "[[hang]]")
    fakes.wait_asked()
    delete(logged, "p")
    problem(asked.result(), 409, "turn_interrupted")
    _next_one_works(logged)


def test_a_busy_project_can_reject(
    serve: Callable[..., Served], fakes: Fakes, background: BackgroundCalls, another: Another
) -> None:
    served = serve(CLAUDE_TIMEOUT="1", **fakes.settings())
    asked = background(another(served).ask, "[[hang]]")
    fakes.wait_asked()
    problem(served.ask("hi", on_busy="reject"), 409, "project_busy")
    delete(served, "p")
    asked.result()
    _next_one_works(served)


def test_a_full_queue_is_429(
    serve: Callable[..., Served], fakes: Fakes, background: BackgroundCalls, another: Another
) -> None:
    served = serve(COWORK_QUEUE_LIMIT="1", **fakes.settings())
    running = background(another(served).ask, "[[hang]]")
    fakes.wait_asked()
    # The reply of a queued question begins at once, so this one is in the queue.
    with another(served).stream("[[words 3]]") as queued:
        reply = served.ask("hi")
        problem(reply, 429, "queue_full")
        assert int(reply.headers["Retry-After"]) >= 1
        with served.stream("hi") as streamed:
            problem(streamed, 429, "queue_full")
        delete(served, "p")
        problem(running.result(), 409, "turn_interrupted")
        assert list(frames(queued))[-1].data["done"] is True
    _next_one_works(served)


def test_a_server_without_a_free_process_is_at_capacity(
    serve: Callable[..., Served], fakes: Fakes, background: BackgroundCalls, another: Another
) -> None:
    served = serve(COWORK_MAX_PROCESSES="1", COWORK_QUEUE_TIMEOUT="0.2", **fakes.settings())
    running = background(another(served).ask, "[[hang]]", "a")
    fakes.wait_asked()
    for reply in (served.ask("hi", "b"), served.stream("hi", "c")):
        with reply:
            problem(reply, 503, "at_capacity")
            assert int(reply.headers["Retry-After"]) >= 1
    delete(served, "a")
    running.result()
    _next_one_works(served, "b")


def test_a_key_of_idempotency_belongs_to_one_body(served: Served) -> None:
    key = {"Idempotency-Key": "4c6f3a0e-once"}
    body = {"project_name": "p", "question": "[[words 2]]"}
    assert served.post("/ask_question", body, headers=key).status_code == 200
    other = {**body, "question": "[[words 3]]"}
    for path in ("/ask_question", "/ask_question_streaming"):
        problem(served.post(path, other, headers=key), 422, "idempotency_mismatch")


def test_no_error_tells_of_the_machine_or_its_secrets(
    serve: Callable[..., Served], fake_environ: dict[str, str], tmp_path: Path
) -> None:
    served = serve(
        CLAUDE_TIMEOUT="0.5",
        CHAT_API_BASE_URL="http://127.0.0.1:9",
        CHAT_API_TOKEN=SECRET,
        ANTHROPIC_API_KEY=f"sk-ant-{SECRET}",
    )
    private = (SECRET, str(tmp_path), fake_environ["PATH"], fake_environ["COWORK_WORKSPACE"])
    questions = [
        *(f"[[fail {scene}]]" for scene in SCENES),
        "[[die]]",
        "[[kill]]",
        "[[partial]]",
        "[[hang]]",
        "[[stderr 9999]] [[die]]",
    ]
    for question in questions:
        reply = served.ask(question)
        assert reply.status_code >= 400
        says_nothing_private(reply.text, *private)
        with served.stream(question) as streamed:
            says_nothing_private(streamed.text, *private)
    for method, path in (("GET", "/nope"), ("POST", "/xo-auth/start"), ("GET", "/xo-auth/whoami")):
        reply = served.http.request(method, served.url + path, json={}, timeout=20)
        assert reply.status_code >= 400
        says_nothing_private(reply.text, *private)


def test_the_log_holds_no_secret(
    serve: Callable[..., Served],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    served = serve(CHAT_API_TOKEN=SECRET, COWORK_API_KEYS=f"me={SECRET}", COWORK_LOG_LEVEL="debug")
    headers = {"Authorization": f"Bearer {SECRET}"}
    body = {"project_name": "p", "question": "[[die]] hi"}
    served.post("/ask_question", body, headers=headers)
    served.get(f"/sessions?token={SECRET}", headers=headers)
    output = capfd.readouterr()
    # werkzeug's own request lines are the test server's, not ours.
    ours = [record.getMessage() for record in caplog.records if record.name != "werkzeug"]
    logged = "\n".join([output.out, output.err, *ours])
    assert "/ask_question" in logged
    assert SECRET not in logged
