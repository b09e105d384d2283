"""Processes of the real CLI that make room for each other: the ordinary end of a process."""

from __future__ import annotations

import os
from contextlib import closing

from cowork.demo.model import serve
from tests import program
from tests.faults import probe
from tests.faults.environment import Ground, compare, fresh
from tests.faults.report import Row
from tests.serving import Client

LIMIT = 2
# One after the other, so that each finds its process gone and its session to be resumed.
PROJECTS = 5
WARM_UP = 2 * LIMIT
# A loop that is late now and then, so that what must not come together does.
BLOCKED_S = "0.01"


def run(ground: Ground, row: Row, count: int) -> None:
    """Ask more projects in turn than there may be processes, until `count` had to go."""
    claude = program.real_claude()
    if claude is None:
        row.facts["claude"] = "not there: make install-cli"
        row.check(not os.environ.get("CI"), "CI must have the claude CLI")
        return
    with serve(delay=0.0) as model:
        ground.boot(
            CLAUDE_CLI_PATH=program.knowing_its_login(str(claude), ground.folder / "evictions"),
            CLAUDE_CONFIG_DIR=str(ground.folder / "config"),
            ANTHROPIC_BASE_URL=model.url,
            ANTHROPIC_API_KEY="sk-dummy",
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
            COWORK_MAX_PROCESSES=str(LIMIT),
            **{probe.BLOCKED: BLOCKED_S},
        )
        _ask(ground.server, row, WARM_UP)
        before, worker = ground.held(), ground.server.workers()
        seen = _ask(ground.server, row, LIMIT + count)
        row.done = len(seen) - LIMIT
        row.check(row.done == count, f"{row.done} processes made room, of {count}")
        row.check(ground.server.workers() == worker, "the worker is another")
        compare(row, before, ground.held(before.counts))


def _ask(server: Client, row: Row, count: int) -> set[int]:
    """So many questions, each to a project without a process; the pids of all processes."""
    pids: set[int] = set()
    for number in range(count):
        with closing(fresh(server)) as client:
            reply = client.ask(f"[[say yes]] {number}", f"e{number % PROJECTS}")
            row.saw(f"status {reply.status_code}")
            row.check(reply.status_code == 200, f"question {number}: {reply.text}")
            listed = client.get("/processes").json()["processes"]
        pids |= {each["pid"] for each in listed}
    return pids
