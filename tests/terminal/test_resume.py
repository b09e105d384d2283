"""An answer at a terminal goes on over a server that is restarted in the middle of it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.e2e.approving import bash
from tests.e2e.environment import Stage, kill
from tests.serving import Gunicorn
from tests.terminal.shell import Shell

pytestmark = pytest.mark.e2e
WORDS = 150
ANSWER = " ".join(f"word{number}" for number in range(1, WORDS + 1))


def test_over_a_reload_and_a_kill_of_the_server_in_mid_answer(
    staged: Callable[..., Stage], tmp_path: Path
) -> None:
    store = f"sqlite:///{tmp_path}/state.db"
    stage = staged(COWORK_APPROVALS="optional", COWORK_STORE=store)
    with ExitStack() as stack:
        shell = Shell(stage.server.url, tmp_path, stack)
        question = f"[[delay 20]] [[words {WORDS}]]"
        reloaded = shell.begin("ask", question, "-p", "reloaded")
        stage.wait_words(question, 5)
        stage.server.send_signal(signal.SIGHUP)
        out, _ = reloaded.communicate(timeout=60)
        assert (out, reloaded.returncode) == (f"{ANSWER}\n", 0)

        asked = shell.terminal("ask", bash("touch made.txt"), "-p", "killed")
        asked.wait("[e]dit: ")
        again = restart(stage)
        stack.callback(again.close)
        asked.type("y\n")
        assert asked.end() == 0, asked.text
        assert asked.text.count("I will use Bash.") == 1
        assert (stage.workspace / "made.txt").exists()
        stage.seen.update(again.workers())


def restart(stage: Stage) -> Gunicorn:
    """Kill the server, and start another on the same port and store."""
    workers = stage.server.workers()
    kill(stage.server.master)  # first, or it would start a worker in the place of one that is gone
    stage.server.child.wait()
    for worker in workers:
        with suppress(ProcessLookupError):
            kill(worker)
    return Gunicorn(stage.server.environ, log=stage.folder / "again.log")
