"""What was said to a turn that waits for a person goes on with it, whatever dies meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.approving import decide, write
from tests.e2e.environment import Stage
from tests.e2e.test_approvals_outlive import ask, durable, ended, kill_worker, restarted
from tests.serving import Client

pytestmark = pytest.mark.e2e


@pytest.fixture
def stage(staged: Callable[..., Stage], tmp_path: Path) -> Stage:
    return durable(staged, tmp_path)


def say(server: Client, turn: str, text: str) -> str:
    reply = server.post(f"/turns/{turn}/steer", {"text": text})
    assert reply.status_code == 202, reply.text
    return str(reply.json()["steer_id"])


def steers(server: Client, turn: str) -> dict[str, str]:
    told: list[dict[str, Any]] = server.get(f"/turns/{turn}").json()["steers"]
    return {each["steer_id"]: each["state"] for each in told}


def test_over_a_kill_of_the_worker(stage: Stage) -> None:
    """What the CLI had when it was killed, and what was said to nobody, are both asked, once."""
    file = stage.workspace / "late.txt"
    approval = ask(stage.server, f"[[say x]] {write(file)}")
    turn = approval["turn_id"]
    first = say(stage.server, turn, "[[say first]]")
    kill_worker(stage.server)
    second = say(stage.server, turn, "[[say second]]")
    assert steers(stage.server, turn) == {first: "pending", second: "pending"}
    assert decide(stage.server, approval).status_code == 200
    done = ended(stage.server, approval)
    assert (done["state"], file.read_text()) == ("succeeded", "x")
    # A CLI that goes on with a turn takes nothing in: what was said is the next one.
    assert steers(stage.server, turn) == {first: "queued", second: "queued"}
    assert ended(stage.server, {"turn_id": second})["message"] == "second"
    said = str(stage.model.exchanges[-1].body)
    assert said.count("[[say first]]") == said.count("[[say second]]") == 1


def test_over_a_stop_of_the_server(stage: Stage) -> None:
    approval = ask(stage.server, f"[[say x]] {write(stage.workspace / 'a.txt')}")
    turn = approval["turn_id"]
    first = say(stage.server, turn, "[[say first]]")
    with restarted(stage) as server:
        assert steers(server, turn) == {first: "pending"}
        assert decide(server, approval, "deny").status_code == 200
        done = ended(server, approval)
        assert done["state"] == "succeeded"
        assert steers(server, turn) == {first: "queued"}
        assert ended(server, {"turn_id": first})["message"] == "first"
