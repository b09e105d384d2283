"""A turn that waits for a person outlives its CLI, its worker and its server, on the real CLI."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.approving import bash, decide, pending, when_pending, write
from tests.e2e.environment import Stage, kill, open_stage
from tests.serving import Client, Gunicorn, frames, wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def stage(real_claude: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server with a durable store, for all whose workers are killed; each has its project."""
    folder = tmp_path_factory.mktemp("durable")
    with open_stage(folder / "stage", real_claude, **settings_in(folder)) as opened:
        yield opened


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    """The test's own."""
    return str(request.node.name)


def settings_in(folder: Path) -> dict[str, str]:
    return {"COWORK_APPROVALS": "optional", "COWORK_STORE": f"sqlite:///{folder}/state.db"}


def durable(staged: Callable[..., Stage], folder: Path, **settings: str) -> Stage:
    """One of the test's own, which it may stop."""
    return staged(**settings_in(folder), **settings)


def ask(server: Client, question: str, project: str = "p", **body: Any) -> dict[str, Any]:
    """Have it asked by a client that goes as soon as it is to be approved; what waits."""
    wanted = {"approvals": True, "events": ["approval", "tool"], **body}
    with server.stream(question, project, **wanted) as reply:
        for frame in frames(reply):
            if frame.data.get("type") == "approval":
                return next(each for each in pending(server) if each["id"] == frame.data["id"])
    raise AssertionError("nothing was to be approved")


def ended(server: Client, approval: dict[str, Any]) -> dict[str, Any]:
    """How the turn stands when it has ended."""
    path = f"/turns/{approval['turn_id']}"
    wait_for(
        lambda: server.get(path).json().get("state") not in {"running", "queued"}, what="its end"
    )
    found: dict[str, Any] = server.get(path).json()
    return found


def lives(server: Client) -> bool:
    with suppress(requests.RequestException):
        return server.get("/health/live").status_code == 200
    return False


def kill_worker(server: Gunicorn) -> None:
    """Kill the worker; another one is there when this returns."""
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: worker not in server.workers() and lives(server), what="another worker")


@contextmanager
def restarted(stage: Stage, off_s: float = 0.0) -> Iterator[Gunicorn]:
    """Stop the server as an operator does, and start it again."""
    stage.server.stop(signal.SIGTERM)
    time.sleep(off_s)
    again = Gunicorn(stage.server.environ, log=stage.folder / "again.log")
    try:
        yield again
    finally:
        stage.seen.update(again.workers())
        again.close()


def test_over_a_kill_of_the_worker_and_the_stream_goes_on_where_it_was(
    stage: Stage, project: str
) -> None:
    file = stage.workspace / "late.txt"
    approval = ask(stage.server, write(file), project)
    before = stage.server.get(f"/turns/{approval['turn_id']}").json()
    kill_worker(stage.server)
    shown = stage.server.get(f"/turns/{approval['turn_id']}").json()
    assert (shown["state"], shown["waiting_for"]) == ("running", [approval["id"]])
    assert shown["message"] == before["message"]
    assert not file.exists()
    assert decide(stage.server, approval).status_code == 200
    done = ended(stage.server, approval)
    assert (done["state"], done["files_changed"]) == ("succeeded", ["late.txt"])
    assert done["message"].startswith("I will use Write.\n\nWrite answered: ")
    with stage.server.get(f"/turns/{approval['turn_id']}/events", stream=True) as reply:
        seen = list(frames(reply))
    kinds = [frame.data.get("type") for frame in seen if frame.data.get("type") != "token"]
    assert kinds == ["tool_use", "approval", "approval_resolved", "tool_result", "done"]
    text = "".join(frame.data.get("token", "") for frame in seen)
    assert text == done["message"]
    assert stage.server.ask("[[say on]]", project).json()["session_id"] == done["session_id"]


def test_what_its_question_asked_for_holds_in_the_next_process_too(
    stage: Stage, project: str
) -> None:
    """Limits, rules and effort: the turn is the same."""
    wanted = {"effort": "low", "disallowed_tools": ["Skill"], "max_turns": 1}
    approval = ask(stage.server, write(stage.workspace / "one.txt"), project, **wanted)
    kill_worker(stage.server)
    assert decide(stage.server, approval).status_code == 200
    done = ended(stage.server, approval)
    assert (done["state"], done["error"]["code"]) == ("failed", "max_turns_reached")
    assert (stage.workspace / "one.txt").exists()

    wanted = {"effort": "low", "disallowed_tools": ["Bash(echo *)"], "max_turns": 3}
    then = bash("echo this ran").replace("[[tool", "[[then")
    approval = ask(stage.server, write(stage.workspace / "two.txt") + then, project, **wanted)
    kill_worker(stage.server)
    assert decide(stage.server, approval).status_code == 200
    done = ended(stage.server, approval)
    assert done["state"] == "succeeded"
    assert "Permission to use Bash with command echo this ran has been denied." in done["message"]
    efforts = [each.body["output_config"]["effort"] for each in stage.model.exchanges[-3:]]
    assert efforts == ["low"] * 3

    # And in no other one.
    assert "this ran" in stage.server.ask(bash("echo this ran"), project).json()["message"]
    assert stage.model.exchanges[-1].body["output_config"]["effort"] != "low"


def test_over_a_stop_and_a_no_is_a_no(staged: Callable[..., Stage], tmp_path: Path) -> None:
    stage = durable(staged, tmp_path)
    file = stage.workspace / "never.txt"
    begun = time.monotonic()
    approval = ask(stage.server, write(file))
    with restarted(stage) as server:
        # It was not waited for.
        assert time.monotonic() - begun < 20
        assert decide(server, approval, "deny", message="never").status_code == 200
        done = ended(server, approval)
        assert done["state"] == "succeeded"
        assert "never" in done["message"]
        assert not file.exists()


def test_what_was_decided_while_nobody_was_there_holds(
    staged: Callable[..., Stage], tmp_path: Path
) -> None:
    stage = durable(staged, tmp_path, COWORK_APPROVAL_TIMEOUT="2")
    file = stage.workspace / "expired.txt"
    approval = ask(stage.server, write(file))
    with restarted(stage, off_s=2.5) as server:
        done = ended(server, approval)
        assert done["state"] == "succeeded"
        late = decide(server, approval)
        assert (late.status_code, late.json()["detail"]["code"]) == (410, "approval_expired")
        assert not file.exists()


def test_a_retry_by_its_key_waits_for_the_same_turn_and_nothing_runs_twice(
    stage: Stage, project: str
) -> None:
    file = stage.workspace / "once.txt"
    key = {"Idempotency-Key": "once"}
    question = {
        "project_name": project,
        "question": bash(f"echo ran >> {file}"),
        "approvals": True,
        "events": ["approval"],
    }
    headers = {**key, "Accept": "text/event-stream"}
    with stage.server.post(
        "/ask_question_streaming", question, headers=headers, stream=True
    ) as reply:
        assert reply.status_code == 200
        (approval,) = when_pending(stage.server)
        kill_worker(stage.server)
    with stage.server.post(
        "/ask_question_streaming", question, headers=headers, stream=True
    ) as reply:
        assert reply.headers["X-Turn-ID"] == approval["turn_id"]
        decide(stage.server, approval)
        *_, last = frames(reply)
    assert last.data["success"] is True
    assert file.read_text() == "ran\n"


def test_again_and_again(stage: Stage, project: str) -> None:
    files = [stage.workspace / f"{number}.txt" for number in range(2)]
    first = ask(stage.server, "".join(map(write, files)), project)
    assert decide(stage.server, first).status_code == 200
    wait_for(files[0].exists, what="the first file")
    (second,) = when_pending(stage.server)
    kill_worker(stage.server)
    kill_worker(stage.server)
    assert not files[1].exists()
    assert decide(stage.server, second).status_code == 200
    assert ended(stage.server, second)["state"] == "succeeded"
    assert [each.exists() for each in files] == [True, True]


def test_the_pool_takes_the_process_and_gives_another(
    staged: Callable[..., Stage], tmp_path: Path
) -> None:
    stage = durable(staged, tmp_path, COWORK_MAX_PROCESSES="1")
    file = stage.workspace / "pool.txt"
    approval = ask(stage.server, write(file), "waits")
    assert stage.server.ask("[[say other]]", "other").json()["message"] == "other"
    assert not file.exists()
    assert decide(stage.server, approval).status_code == 200
    assert ended(stage.server, approval)["state"] == "succeeded"
    assert file.exists()


def test_without_a_durable_store_what_waits_longest_is_denied_for_whom_who_needs_the_process(
    staged: Callable[..., Stage],
) -> None:
    stage = staged(COWORK_APPROVALS="optional", COWORK_MAX_PROCESSES="1")
    file = stage.workspace / "pool.txt"
    approval = ask(stage.server, write(file), "waits")
    assert stage.server.ask("[[say other]]", "other").json()["message"] == "other"
    assert ended(stage.server, approval)["state"] == "succeeded"
    assert decide(stage.server, approval).status_code == 410
    assert not file.exists()


def test_an_interrupt_of_one_that_has_no_process(stage: Stage, project: str) -> None:
    file = stage.workspace / "interrupted.txt"
    approval = ask(stage.server, write(file), project)
    kill_worker(stage.server)
    stage.server.post(f"/turns/{approval['turn_id']}/interrupt")
    assert ended(stage.server, approval)["state"] == "interrupted"
    assert decide(stage.server, approval).status_code in {409, 410}
    assert not file.exists()
    assert stage.server.ask("[[say on]]", project).json()["message"] == "on"


def test_where_the_cli_cannot_it_is_told_and_nothing_runs(stage: Stage) -> None:
    """A sub-agent's tool; and a transcript that is gone."""
    file = stage.workspace / "agent.txt"
    inner = write(file).replace('"', '\\"')
    task = f'{{"description": "d", "prompt": "{inner}", "subagent_type": "general-purpose"}}'
    approval = ask(stage.server, f"[[tool Task {task}]]", "agent")
    kill_worker(stage.server)
    assert decide(stage.server, approval).status_code == 410
    lost = ended(stage.server, approval)
    assert (lost["state"], lost["error"]["code"]) == ("failed", "worker_lost")
    approval = ask(stage.server, write(file), "gone")
    kill_worker(stage.server)
    session = stage.server.get("/sessions").json()["sessions"]["gone"]
    stage.transcript(session).unlink()
    assert decide(stage.server, approval).status_code == 200
    lost = ended(stage.server, approval)
    assert (lost["state"], lost["error"]["code"]) == ("failed", "worker_lost")
    assert not file.exists()


def test_a_cli_that_dies_while_it_waits(stage: Stage, project: str) -> None:
    file = stage.workspace / "died.txt"
    approval = ask(stage.server, write(file), project)
    session = stage.server.get("/sessions").json()["sessions"][project]
    kill(stage.cli(session))
    done = ended(stage.server, approval)
    assert done["state"] == "failed"
    assert decide(stage.server, approval).status_code in {409, 410}
    assert not file.exists()
    assert stage.server.ask("[[say on]]", project).json()["message"] == "on"
