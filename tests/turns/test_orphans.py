"""Nothing of ours is left: tools in their own sessions and background grandchildren included."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.fake_claude import Lifelines
from tests.fakes import Fakes
from tests.patience import PATIENCE_S
from tests.serving import Gunicorn, Served, wait_for
from tests.turns.raw_client import Line, question

# The CLI, its tool and what it left running behind it.
SOON_S = 8.0
BACKGROUND = "[[background 300]]"
TOOL = "[[tool 300]]"


def begin(to: Served | Gunicorn, dial: Callable[..., Line], fakes: Fakes, *texts: str) -> None:
    """Ask each text of a project of its own, and wait until all their children run."""
    before = len(fakes.entries("child"))
    for number, text in enumerate(texts):
        dial(to, "/ask_question", question(text, f"{text} {number}"))
    wait_for(lambda: len(fakes.entries("child")) == before + len(texts), what="the children")


def test_what_a_turn_left_running_is_swept_at_its_end(
    serve: Callable[..., Served], lifelines: Lifelines
) -> None:
    served = serve(**lifelines.environment)
    assert served.ask(BACKGROUND).status_code == 200
    assert lifelines.wait_for(1), lifelines.held
    assert served.ask("still the same process").status_code == 200
    assert lifelines.held == 1


@pytest.mark.parametrize("text", [TOOL, f"{BACKGROUND} [[hang]]"])
def test_a_cli_that_is_killed_takes_its_tools_with_it(
    text: str,
    serve: Callable[..., Served],
    fakes: Fakes,
    lifelines: Lifelines,
    dial: Callable[..., Line],
) -> None:
    served = serve(**fakes.settings(), **lifelines.environment)
    if "hang" in text:
        assert served.ask(BACKGROUND, "b").status_code == 200
    else:
        begin(served, dial, fakes, text)
    for entry in fakes.entries("start"):
        os.kill(entry["pid"], signal.SIGKILL)
    assert lifelines.wait_for(0, SOON_S), lifelines.held


def test_an_idle_process_that_ends_leaves_nothing(
    serve: Callable[..., Served], lifelines: Lifelines
) -> None:
    served = serve(**lifelines.environment, COWORK_IDLE_TIMEOUT="0.3")
    assert served.ask(BACKGROUND).status_code == 200
    assert lifelines.wait_for(0, SOON_S), lifelines.held
    assert served.ask("again").json()["is_new_session"] is False


def test_a_closing_server_leaves_nothing(
    serve: Callable[..., Served], fakes: Fakes, lifelines: Lifelines, dial: Callable[..., Line]
) -> None:
    served = serve(**fakes.settings(), **lifelines.environment)
    begin(served, dial, fakes, TOOL, TOOL)
    begun = time.monotonic()
    served.services.close()
    assert time.monotonic() - begun < SOON_S
    assert lifelines.wait_for(0), lifelines.held


def test_a_killed_worker_leaves_nothing_and_the_next_one_serves(
    gunicorn: Callable[..., Gunicorn],
    fakes: Fakes,
    lifelines: Lifelines,
    dial: Callable[..., Line],
) -> None:
    server = gunicorn(**fakes.settings(), **lifelines.environment)
    assert server.ask("hi", "idle").status_code == 200
    begin(server, dial, fakes, TOOL, TOOL)
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: server.workers() not in ([], [worker]), what="another worker")
    assert lifelines.wait_for(0, SOON_S), lifelines.held
    server.wait_live()
    assert server.ask("hi", "idle").status_code == 200
    assert server.ask("hi", f"{TOOL} 0").status_code == 200


def test_what_a_killed_server_left_is_swept_by_the_next(
    gunicorn: Callable[..., Gunicorn],
    fakes: Fakes,
    lifelines: Lifelines,
    dial: Callable[..., Line],
) -> None:
    server = gunicorn(**fakes.settings(), **lifelines.environment)
    begin(server, dial, fakes, TOOL, TOOL)
    # All at once: a worker that outlives its master by a moment begins to end what it has.
    (worker,) = server.workers()
    for pid, number in (
        (worker, signal.SIGSTOP),
        (server.child.pid, signal.SIGKILL),
        (worker, signal.SIGKILL),
    ):
        os.kill(pid, number)
    server.child.wait(PATIENCE_S)
    # The tools, which nobody is left to end; unless a server of another test has begun just now,
    # which sweeps them too.
    wait_for(lambda: lifelines.held in {0, 2}, what="the end of all but the tools")
    again = gunicorn(**fakes.settings(), **lifelines.environment)
    assert lifelines.wait_for(0, SOON_S), lifelines.held
    assert again.ask("hi").status_code == 200


def test_a_killed_master_takes_everything_with_it(
    gunicorn: Callable[..., Gunicorn],
    fakes: Fakes,
    lifelines: Lifelines,
    dial: Callable[..., Line],
) -> None:
    server = gunicorn(**fakes.settings(), **lifelines.environment)
    begin(server, dial, fakes, TOOL, TOOL)
    (worker,) = server.workers()
    server.child.kill()
    server.child.wait(PATIENCE_S)
    assert lifelines.wait_for(0, SOON_S), lifelines.held
    wait_for(lambda: not _lives(worker), what="the worker's end")


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - a number, not a path of ours
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
