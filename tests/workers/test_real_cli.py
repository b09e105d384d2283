"""Once with the real CLI: a session goes on in another worker, and on another machine, by Redis."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cowork.demo.model import Model, serve
from tests import program
from tests.e2e.approving import write
from tests.serving import Gunicorn, joined, wait_for
from tests.workers.places import Places, begun, open_places
from tests.workers.test_takeover import answered, last


@pytest.fixture
def model() -> Iterator[Model]:
    with serve(delay=0.02) as running:
        yield running


@pytest.fixture
def places(_redis: None, real_claude: str, model: Model, tmp_path: Path) -> Iterator[Places]:
    with open_places(
        tmp_path,
        CLAUDE_CLI_PATH=program.knowing_its_login(real_claude, tmp_path / "real"),
        ANTHROPIC_BASE_URL=model.url,
        ANTHROPIC_API_KEY="sk-dummy",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        COWORK_APPROVALS="optional",
    ) as opened:
        yield opened


def sent(model: Model) -> str:
    """What the model was last sent of the conversation."""
    return str(model.requests[-1]["messages"])


def kept(places: Places, but: str = "") -> list[Path]:
    """The transcripts on all machines but that one."""
    found = places.folder.glob("*/.claude/projects/*/*.jsonl")
    return [path for path in found if path.relative_to(places.folder).parts[0] != but]


def test_a_session_moves_with_its_context_and_its_text_is_not_lost(
    places: Places, model: Model
) -> None:
    home, sister, machine = (places.servers[name] for name in ("home", "sister", "machine"))
    assert home.ask("[[say one]] the okapi is striped", "p").json()["message"] == "one"
    # Read elsewhere, word by word; and interrupted from the third.
    turn, rest = begun(sister, "[[words 500]]", "p", tokens=20)
    assert machine.get(f"/turns/{turn}").json()["message"].startswith("word1 word2")
    assert machine.post(f"/turns/{turn}/interrupt").json()["state"] == "interrupted"
    assert last(rest()) == (False, "turn_interrupted")
    # Its worker is killed in mid-turn.
    turn, rest = begun(machine, "[[words 500]]", "p", tokens=20)
    (worker,) = home.workers()
    os.kill(worker, signal.SIGKILL)
    assert last(rest()) == (False, "worker_lost")
    assert machine.get(f"/turns/{turn}").json()["message"].startswith("word1 word2")
    assert answered(machine, "[[say two]]", "p", 25) == "two"
    assert "the okapi is striped" in sent(model)
    listed = machine.get("/processes").json()["processes"]
    assert [each["project"] for each in listed] == ["p"]
    # And its machine goes.
    os.kill(machine.child.pid, signal.SIGKILL)
    machine.child.wait()
    assert answered(sister, "[[say three]]", "p", 25) == "three"
    assert "the okapi is striped" in sent(model)
    assert "[[say two]]" in sent(model)
    assert joined(sister.streamed("[[say four]]", "p")) == "four"
    deleted = sister.delete("/sessions/p").json()
    assert deleted["success"] is True
    wait_for(lambda: not kept(places, but="machine"), what="the end of every transcript")
    assert kept(places)  # of the one that is off


def waiting(server: Gunicorn, count: int = 1) -> dict[str, Any]:
    """The last of so many approvals, as this server tells."""
    wait_for(lambda: server.get("/approvals").json()["count"] >= count, 20, what="an approval")
    found: dict[str, Any] = server.get("/approvals").json()["approvals"][-1]
    return found


def ended(server: Gunicorn, approval: dict[str, Any]) -> dict[str, Any]:
    path = f"/turns/{approval['turn_id']}"
    wait_for(lambda: server.get(path).json().get("state") not in {None, "running"}, 40, what="end")
    found: dict[str, Any] = server.get(path).json()
    return found


def allow(server: Gunicorn, approval: dict[str, Any]) -> None:
    reply = server.post(f"/approvals/{approval['id']}", {"decision": "allow"})
    assert reply.status_code == 200, reply.text


def test_an_approval_is_answered_from_anywhere_and_outlives_its_worker_and_its_machine(
    places: Places, tmp_path: Path
) -> None:
    home, sister, machine = (places.servers[name] for name in ("home", "sister", "machine"))
    files = [tmp_path / f"{number}.txt" for number in range(4)]
    wanted = {"approvals": True, "events": ["approval"]}
    # Asked at one, read at another, answered at the third.
    assert home.ask("[[say one]]", "p").status_code == 200
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: sister.streamed(write(files[0]), "p", **wanted))
        approval = waiting(machine)
        assert approval["input"]["file_path"] == str(files[0])
        told = machine.get(f"/turns/{approval['turn_id']}").json()
        assert told["waiting_for"] == [approval["id"]]
        allow(machine, approval)
        seen = reading.result(30)
    kinds = [frame.data["type"] for frame in seen if frame.data["type"].startswith("approval")]
    assert kinds == ["approval", "approval_resolved"]
    assert (seen[-1].data["success"], files[0].exists()) == (True, True)
    # Its worker is killed: another of the same machine has it.
    sister.stream(write(files[1]), "p", **wanted).close()
    approval = waiting(sister)
    (worker,) = home.workers()
    os.kill(worker, signal.SIGKILL)
    allow(machine, approval)
    done = ended(sister, approval)
    assert done["state"] == "succeeded", done
    assert files[1].read_text() == "x"
    # A machine that is gone, with the process and the transcript.
    assert machine.ask("[[say three]]", "q").status_code == 200
    machine.stream(write(files[2]), "q", **wanted).close()
    approval = waiting(sister)
    os.kill(machine.child.pid, signal.SIGKILL)
    machine.child.wait()
    assert not files[2].exists()
    allow(sister, approval)
    done = ended(sister, approval)
    assert done["state"] == "succeeded", done
    assert files[2].read_text() == "x"
    audit = sister.get("/approvals", params={"state": "resolved"}).json()["approvals"]
    assert [each["decision"] for each in audit] == ["allow"] * 3
