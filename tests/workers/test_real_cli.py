"""Once with the real CLI: a session goes on in another worker, and on another machine, by Redis."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cowork.demo.model import Model, serve
from tests.serving import joined, wait_for
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
        CLAUDE_CLI_PATH=real_claude,
        ANTHROPIC_BASE_URL=model.url,
        ANTHROPIC_API_KEY="sk-dummy",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
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
    assert len(machine.get("/processes").json()["processes"]) == 1
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
