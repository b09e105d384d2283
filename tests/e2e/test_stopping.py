"""A server that is stopped, idle or at work, leaves nothing behind and tells everyone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.background import BackgroundCalls
from tests.contract.replies import problem
from tests.e2e.environment import Stage, argv_of, timed
from tests.serving import Client, wait_for

pytestmark = pytest.mark.e2e

BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
GRACE_S = 5
# A tool that does not end, and what it leaves in a session of its own.
TOOL = (
    '[[tool Bash {"command": "nohup setsid sleep 4242 >/dev/null 2>&1 & sleep 4343"}]] [[words 3]]'
)
WORK = {
    "text": "[[words 9000]] [[delay 20]]",
    "thought": "[[think 9000]] [[delay 20]]",
    "tool": TOOL,
}
Another = Callable[..., Client]


def serving(staged: Callable[..., Stage]) -> Stage:
    """A server with a short grace, whose user lets the CLI run any command."""
    stage = staged(COWORK_GRACEFUL_TIMEOUT=str(GRACE_S))
    (stage.config / "settings.json").write_text('{"permissions": {"allow": ["Bash"]}}')
    return stage


def sleepers(stage: Stage) -> list[int]:
    """The tool's processes, however far they have gone from the CLI."""
    words = ("sleep 4242", "sleep 4343")
    return [pid for pid in stage.processes() if " ".join(argv_of(pid)).strip() in words]


@BOTH
def test_an_idle_server_ends_at_once_with_its_processes(
    staged: Callable[..., Stage], number: signal.Signals
) -> None:
    stage = serving(staged)
    stage.answers_again()
    assert len(stage.clis()) == 1
    assert stage.server.stop(number) < 4
    stage.wait_gone()


@BOTH
def test_a_server_at_work_tells_every_stream_and_leaves_no_tool_behind(
    staged: Callable[..., Stage],
    background: BackgroundCalls,
    another: Another,
    number: signal.Signals,
) -> None:
    stage = serving(staged)
    url = stage.server.url
    stage.answers_again("idle")
    begun: set[str] = set()
    streams = {
        project: background(
            timed,
            another(url),
            question,
            project,
            then=lambda *_, project=project: begun.add(project),
            events=["tool", "thinking"],
        )
        for project, question in WORK.items()
    }
    whole = background(another(url).ask, WORK["text"], "whole")
    wait_for(lambda: len(sleepers(stage)) == 2, 20, "both sleeps of the tool")
    wait_for(lambda: begun == WORK.keys(), what="the first frame of each")

    stopped = time.monotonic()
    if number == signal.SIGINT:
        # Ctrl-C in a terminal goes to every process of the group.
        os.killpg(stage.server.child.pid, number)
    else:
        stage.server.send_signal(number)
    stage.server.child.wait(2 * GRACE_S)
    assert time.monotonic() - stopped < GRACE_S + 1
    for project, stream in streams.items():
        error, last = (frame.data for frame in stream.result(2).frames[-2:])
        assert error["code"] == "shutting_down", project
        assert last["success"] is False, project
    problem(whole.result(2), 503, "shutting_down")
    stage.wait_gone()


def test_a_short_turn_ends_well_while_the_server_drains(
    staged: Callable[..., Stage], background: BackgroundCalls, another: Another
) -> None:
    stage = serving(staged)
    url = stage.server.url
    stage.answers_again()
    question = "[[words 40]] [[delay 25]]"
    running = background(timed, another(url), question)
    stage.wait_words(question)
    stage.server.send_signal(signal.SIGTERM)
    seen = running.result()
    assert seen.last["success"] is True
    assert len([frame for frame in seen.frames if "token" in frame.data]) == 40
    stage.server.child.wait(GRACE_S)
    stage.wait_gone()
