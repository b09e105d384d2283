"""`GET /metrics`: each figure moves when the thing happens, and its labels are bounded."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cowork.settings import settings
from cowork.telemetry.catalogue import ALL
from cowork.web.failed_keys import MAX_FAILED_KEYS
from tests import fake_claude
from tests.background import BackgroundCalls
from tests.conftest import _descriptors, _left, _threads, nothing_left
from tests.contract.replies import problem, send
from tests.fakes import Fakes
from tests.patience import PATIENCE_S
from tests.redis_server import RedisServer
from tests.scraping import Scrape, await_count, await_value
from tests.serving import Client, Gunicorn, Served, frames, wait_for
from tests.upstream import Upstream

KEY = "k" * 40
SELF = (
    *(
        "ready",
        "disk_size_bytes",
        "cli_info",
        "cli_logged_in",
        "build_info",
        "store_up",
        "workers",
        "store_file_bytes",
    ),
    *("process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds"),
    *("process_max_fds", "process_start_time_seconds"),
)


# Takes the place of the detector that looks after each test: the server outlives them.
@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the last test of this module where one leaves something behind."""
    before = _threads(), _descriptors()
    yield
    nothing_left(request.node.name, lambda: _left(*before))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server, which the tests that only count share; each has a project of its own."""
    folder = tmp_path_factory.mktemp("told")
    fakes = Fakes(folder)
    with Upstream() as upstream:
        environ = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "CLAUDE_CLI_PATH": str(fake_claude.install(folder / "bin")),
            "CHAT_API_BASE_URL": upstream.url,
            "COWORK_WORKSPACE": str(folder / "workspace"),
            "COWORK_STORE": f"sqlite:///{folder}/store.db",
            "COWORK_STORE_KEY_FILE": str(folder / "store.key"),
            "COWORK_SPARE_PROCESSES": "0",
            "COWORK_MAX_PROCESSES": "3",
            "COWORK_CLI_ENV": "FAKE_CLAUDE_CONFIG,FAKE_CLAUDE_LIFELINE",
            "COWORK_LOG_LEVEL": "warning",
            **fakes.settings(),
        }
        served = Served(settings.load(environ, dotenv=folder / "no.env"), environ)
        yield served
        served.close()


def test_every_metric_is_told_with_its_type_and_help(told: Served) -> None:
    families = {each.name: each for each in Scrape(told).families}
    for metric in ALL:
        family = families[metric.full_name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)


def test_a_turn_is_counted_with_what_it_took(told: Served) -> None:
    before = Scrape(told)
    assert told.ask("[[words 3]]", "turn").status_code == 200
    after = await_count(
        told,
        before.value("http_request_duration_seconds_count", route="/ask_question") + 1,
        "http_request_duration_seconds_count",
        route="/ask_question",
    )

    def grown(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    turn = {"api": "native", "kind": "answer", "outcome": "succeeded", "code": "", "key": ""}
    assert grown("turns_total", **turn) == 1
    assert grown("turn_duration_seconds_count", kind="answer") == 1
    assert grown("turn_first_token_seconds_count", start="new") == 1
    assert grown("turn_queue_seconds_count") == 1
    assert grown("turn_claim_wait_seconds_count") == 1
    assert grown("turn_slot_wait_seconds_count") == 1
    assert grown("tokens_total", type="output") > 0
    assert grown("tokens_total", type="input") > 0
    assert grown("cost_usd_total") > 0
    assert grown("sessions") == 1
    assert grown("cli_starts_total", kind="new", result="ok") == 1
    assert grown("cli_start_duration_seconds_count", kind="new") == 1
    assert grown("http_requests_total", method="POST", route="/ask_question", status="200") == 1
    assert grown("store_operation_duration_seconds_count", operation="end_turn") == 1
    assert after.value("cli_processes", state="idle") >= 1
    assert told.ask("[[words 3]]", "turn").status_code == 200
    await_count(told, 1, "turn_first_token_seconds_count", start="resident")


def test_a_turn_that_fails_is_counted_by_its_code(told: Served) -> None:
    problem(told.ask("[[fail 500]]", "fails"), 502, "claude_api_error")
    failed = {"outcome": "failed", "code": "claude_api_error"}
    assert Scrape(told).value("turns_total", **failed) == 1


def test_a_message_is_delivered_and_its_call_timed(told: Served) -> None:
    assert told.ask("hi", "chat").status_code == 200
    await_value(told, lambda count: count >= 2, "outbox_deliveries_total", result="delivered")
    told_of = await_count(told, 0, "outbox_messages", state="waiting")
    assert told_of.labels("outbox_messages", "state") == {"waiting", "dead"}
    path = "/chat/add_message"
    assert told_of.value("upstream_request_duration_seconds_count", path=path) >= 2


def test_a_stream_is_counted_while_it_is_read_and_how_it_ended(told: Served) -> None:
    before = Scrape(told).value("stream_ends_total", how="done")
    with told.stream("[[delay 20]] [[words 80]]", "stream") as reply:
        turn_id = reply.headers["X-Turn-ID"]
        reading = frames(reply)
        first = next(reading)
        running = Scrape(told)
        assert running.value("streams_open") == 1
        assert running.value("turns_in_progress", state="running") == 1
        last = list(reading)[-1]
    await_count(told, before + 1, "stream_ends_total", how="done")
    after = await_count(told, 0, "streams_open")
    assert after.value("relay_delay_seconds_count") >= 1
    with told.get(f"/turns/{turn_id}/events", headers={"Last-Event-ID": first.id}) as again:
        assert str(last.id) in again.text
    beyond = {"Last-Event-ID": f"{turn_id}.999"}
    assert told.get(f"/turns/{turn_id}/events", headers=beyond).status_code == 422
    after = Scrape(told)
    assert after.value("stream_resumes_total", result="replay") == 1
    assert after.value("stream_resumes_total", result="refused") == 1


def test_a_client_that_leaves_and_comes_back_is_counted(told: Served) -> None:
    with told.stream("[[delay 20]] [[words 200]]", "leaves") as reply:
        turn_id = reply.headers["X-Turn-ID"]
        first = next(frames(reply))
    await_count(told, 1, "stream_ends_total", how="client_left")
    resumed = told.get(f"/turns/{turn_id}/events", headers={"Last-Event-ID": first.id}, stream=True)
    with resumed as reply:
        next(frames(reply))
    assert Scrape(told).value("stream_resumes_total", result="live") == 1
    told.post(f"/turns/{turn_id}/interrupt")
    await_count(told, 1, "turns_total", outcome="interrupted", kind="stream")


def test_an_idempotency_key_that_is_known_is_counted(
    told: Served, background: BackgroundCalls, another: Callable[..., Client]
) -> None:
    body = {"project_name": "key", "question": "[[delay 30]] [[words 20]]"}
    headers = {"Idempotency-Key": "one"}
    first = background(another(told).post, "/ask_question", body, headers=headers)
    await_count(told, 1, "turns_in_progress", state="running")
    for _ in range(2):  # while it runs, and after
        assert told.post("/ask_question", body, headers=headers).status_code == 200
    assert first.result().status_code == 200
    other = {**body, "question": "another"}
    problem(told.post("/ask_question", other, headers=headers), 422, "idempotency_mismatch")
    found = Scrape(told)
    for result in ("attached", "replayed", "mismatch"):
        assert found.value("idempotent_replays_total", result=result) == 1, result


def process_of(client: Client, project: str) -> dict[str, Any] | None:
    found = client.get("/processes").json()["processes"]
    return next((each for each in found if each["project"] == project), None)


def end_process(client: Client, project: str) -> None:
    """End the project's process, and wait until nothing is left of it."""
    found = process_of(client, project)
    assert found is not None
    client.delete(f"/processes/{found['id']}")
    wait_for(lambda: process_of(client, project) is None)


def test_processes_are_counted_as_they_end(told: Served) -> None:
    before = Scrape(told)

    def ended(why: str) -> None:
        count = before.value("cli_ends_total", why=why) + 1
        await_value(told, lambda found: found >= count, "cli_ends_total", why=why)

    told.ask("hi", "killed")
    found = process_of(told, "killed")
    assert found is not None
    os.kill(found["pid"], signal.SIGKILL)
    assert told.ask("hi", "killed").status_code == 200
    ended("signal")
    resumed = {"kind": "resumed", "result": "ok"}
    started = before.value("cli_starts_total", **resumed) + 1
    assert Scrape(told).value("cli_starts_total", **resumed) == started
    end_process(told, "killed")
    ended("asked")
    told.ask("hi", "deleted")
    told.delete("/sessions/deleted")
    ended("deleted")
    for number in range(4):  # of which three fit
        assert told.ask("hi", f"many-{number}").status_code == 200
    after = Scrape(told)
    assert after.value("cli_ends_total", why="evicted") >= 1
    assert after.value("cli_processes_limit") == 3
    assert after.value("cli_process_memory_bytes_count") >= 1
    assert process_of(told, "many-3") is not None  # which has it measured
    assert Scrape(told).value("cli_memory_bytes") > 0


def test_a_session_that_is_lost_is_counted(told: Served) -> None:
    told.ask("hi", "lost")
    end_process(told, "lost")
    session = told.get("/sessions").json()["sessions"]["lost"]
    (transcript,) = Path(told.services.cli.state().path or "").parents[1].rglob(f"{session}.jsonl")
    transcript.unlink()
    assert told.ask("hi", "lost").json()["session_recovered"] is True
    assert Scrape(told).value("sessions_lost_total", why="no_transcript") == 1


def test_a_session_whose_directory_is_gone_is_counted(
    serve: Callable[..., Served], fake_environ: dict[str, str]
) -> None:
    served = serve(COWORK_PROJECT_DIRS="true")
    served.ask("hi", "gone")
    folder = Path(served.get("/sessions/gone").json()["directory"])
    assert folder.is_relative_to(fake_environ["COWORK_WORKSPACE"])
    end_process(served, "gone")
    folder.rmdir()
    assert served.ask("hi", "gone").status_code == 200
    assert Scrape(served).value("sessions_lost_total", why="deleted") == 1


def test_no_series_names_a_project_a_path_or_a_turn(told: Served) -> None:
    told.ask("hi", "canary-project-name")
    told.get("/sessions/canary-project-name")
    told.get("/canary-path")
    told.http.request("CANARY", f"{told.url}/health", timeout=10)
    text = told.get("/metrics").text
    assert "canary" not in text.casefold()
    found = Scrape(told)
    assert found.value("http_requests_total", route="none", status="404") >= 1
    assert found.value("http_requests_total", method="other") >= 1


def test_the_server_tells_of_itself(told: Served) -> None:
    found = await_value(told, lambda ticks: ticks > 2, "event_loop_lag_seconds_count")
    for name in SELF:
        assert found.value(name) > 0, name
    assert found.labels("disk_free_bytes", "where") == {"home", "workspace", "store"}
    assert abs(found.value("process_start_time_seconds") - time.time()) < 3600


def test_a_store_that_is_gone_is_counted(
    serve: Callable[..., Served], redis_server: RedisServer
) -> None:
    served = serve(COWORK_STORE=redis_server.url)
    assert served.ask("hi").status_code == 200
    assert Scrape(served).value("store_up") == 1
    redis_server.stop()
    problem(served.ask("hi"), 503, "store_unavailable")
    found = await_count(served, 0, "store_up")
    assert found.value("store_errors_total") >= 1
    # What the store would have to tell is left out, the rest is told.
    assert found.value("build_info") == 1


def test_who_is_refused_is_counted_by_why(serve: Callable[..., Served]) -> None:
    served = serve(COWORK_API_KEYS=f"admin={KEY}")
    send(served, "GET", "/sessions")
    send(served, "GET", "/sessions", None, {"Authorization": f"Bearer {KEY}x"})
    send(served, "GET", "/sessions", None, {"Host": "bad host"})
    send(served, "GET", "/sessions", None, {"Origin": "https://evil.example"})
    found = Scrape(served)
    for reason in ("no_key", "wrong_key", "host", "origin"):
        assert found.value("http_refused_total", reason=reason) == 1, reason
    assert found.value("http_requests_total", route="/sessions", status="401") == 2
    for _ in range(MAX_FAILED_KEYS):
        reply = send(served, "GET", "/sessions", None, {"Authorization": f"Bearer {KEY}x"})
    problem(reply, 429, "too_many_attempts")
    assert Scrape(served).value("http_refused_total", reason="too_many") == 1


def test_a_reload_and_what_never_was_a_request_are_seen(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    server = gunicorn(COWORK_STORE=f"sqlite:///{tmp_path}/store.db", COWORK_SPARE_PROCESSES="1")
    assert server.ask("hi").status_code == 200
    before = Scrape(server)
    assert before.value("turns_total") == 1
    (old,) = server.workers()
    with socket.create_connection(("127.0.0.1", server.port), 10) as line:
        line.sendall(b"NO HTTP\r\n\r\n")
        line.recv(1000)
    await_count(server, 1, "http_refused_total", reason="unread")
    server.send_signal(signal.SIGHUP)
    wait_for(lambda: old not in server.workers(), PATIENCE_S, "the end of the old worker")
    after = await_value(server, lambda number: number == 1, "turns_total", outcome="succeeded")
    for family in before.families:
        if family.type in {"counter", "histogram"}:
            name = family.name + ("_total" if family.type == "counter" else "_count")
            name = name.removeprefix("cowork_")
            assert after.value(name) >= before.value(name), name
    # Of the gauges only the new worker's are left.
    assert len(after.labels("process_open_fds", "worker")) == 1
    assert after.value("build_info") == 1
    assert server.ask("hi again").status_code == 200
    assert Scrape(server).value("turns_total") == 2
