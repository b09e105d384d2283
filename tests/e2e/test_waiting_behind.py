"""What becomes of a question that waits behind a turn that waits for a person, on the real CLI."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.approving import decide, pending, write
from tests.e2e.environment import Stage
from tests.e2e.test_approvals_outlive import ask, durable, ended, kill_worker, restarted
from tests.serving import Client, wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture
def stage(staged: Callable[..., Stage], tmp_path: Path) -> Stage:
    return durable(staged, tmp_path)


def behind(url: str) -> requests.Response | None:
    """Ask a question, by its key; None where the server died meanwhile."""
    body = {"project_name": "p", "question": "[[say behind]]"}
    with closing(Client(url)) as client, suppress(requests.RequestException):
        return client.post("/ask_question", body, headers={"Idempotency-Key": "behind"})
    return None


def wait_queued(server: Client) -> None:
    wait_for(lambda: server.get("/sessions/p").json()["queued"] == 1, what="a queued question")


def goes_on(server: Client, approval: dict[str, Any], again: Future[Any], file: Path) -> None:
    """The question waits as before, and is asked when the turn before it has ended."""
    wait_queued(server)
    assert [each["id"] for each in pending(server)] == [approval["id"]]
    assert not again.done()
    assert decide(server, approval).status_code == 200
    assert ended(server, approval)["state"] == "succeeded"
    reply = again.result(60)
    assert (reply.status_code, reply.json()["message"]) == (200, "behind")
    assert file.read_text() == "x"
    texts = [
        each["parts"][0]["text"] for each in server.get("/sessions/p/messages").json()["messages"]
    ]
    assert texts[-2:] == ["[[say behind]]", "behind"]


def test_at_a_stop_it_is_told_and_its_key_asks_it_again(stage: Stage) -> None:
    file = stage.workspace / "late.txt"
    approval = ask(stage.server, write(file))
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(behind, stage.server.url)
        wait_queued(stage.server)
        with restarted(stage) as server:
            reply = waiting.result(20)
            assert reply is not None
            assert (reply.status_code, reply.json()["detail"]["code"]) == (503, "shutting_down")
            assert int(reply.headers["Retry-After"]) > 0
            told = server.get(f"/turns/{reply.headers['X-Turn-ID']}").json()
            assert told["state"] == "interrupted"
            goes_on(server, approval, pool.submit(behind, server.url), file)


def test_at_a_kill_it_is_told_and_its_key_asks_it_again(stage: Stage) -> None:
    file = stage.workspace / "late.txt"
    approval = ask(stage.server, write(file))
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(behind, stage.server.url)
        wait_queued(stage.server)
        kill_worker(stage.server)
        assert waiting.result(20) is None
        goes_on(stage.server, approval, pool.submit(behind, stage.server.url), file)
