"""A pool over the fake CLI that knows its own surroundings, and what tests do with one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from cowork.claude import command
from cowork.claude.installation import ClaudeCli
from cowork.claude.pool.pool import Pool
from cowork.claude.pool.slot import PoolCounts, SlotState
from cowork.claude.process.launcher import Launcher
from cowork.claude.process.pending_answer import PendingAnswer
from cowork.claude.process.process import ClaudeProcess
from cowork.model import Project
from tests.fake_claude import Lifelines, configure, read_log
from tests.patience import PATIENCE_S
from tests.serving import wait_for
from tests.unit.claude.captured import Heard

EMPTY = PoolCounts(busy=0, idle=0, spare=0, starting=0, limit=0)


class PoolOfFakes(Pool):
    """`lines` counts the fakes and their tools that live, `log` is what they did."""

    def __init__(
        self,
        folder: Path,
        environ: dict[str, str],
        lines: Lifelines,
        *,
        config: dict[str, Any] | None = None,
        launch_config: dict[str, Any] | None = None,
        start_timeout: float = 10.0,
        **rules: Any,
    ) -> None:
        self.folder, self.lines, self.log = folder, lines, folder / "fakes.log"
        self.projects: dict[str, Project] = {}
        told = self.tell(**(config or {}))
        full = {**environ, **told, **lines.environment}
        passed = ("FAKE_CLAUDE_CONFIG", "FAKE_CLAUDE_LIFELINE")
        how = command.LaunchConfig(passed=passed, **(launch_config or {}))
        cli = ClaudeCli(full["CLAUDE_CLI_PATH"], environ=full, launch_config=how)
        launcher = Launcher(cli, environ=full, launch_config=how, timeout=start_timeout)
        usual = {"limit": 2, "idle_timeout": 60, "slot_timeout": 0.1, "spare_cwd": str(folder)}
        super().__init__(launcher, **{**usual, **rules})

    def tell(self, **config: Any) -> dict[str, str]:
        """How fakes behave that start from now on; the environment that makes them look."""
        return configure(self.folder / "fakes.json", **{"log": self.log, **config})

    def get(self, name: str = "", **wanted: Any) -> ClaudeProcess:
        """Lease a process, of a new session of a new project unless one is named."""
        project = Project("", name or str(uuid4()))
        process = self.lease(project, str(self.folder), **wanted)
        self.projects[process.session_id] = project
        return process

    def again(self, process: ClaudeProcess, **wanted: Any) -> ClaudeProcess:
        """Lease a process of the session of that one."""
        project = self.projects[process.session_id]
        return self.lease(project, str(self.folder), session_id=process.session_id, **wanted)

    def count(self, state: str) -> int:
        """How many processes are in that state."""
        found: int = getattr(self.counts(), state)
        return found

    def did(self, event: str) -> list[dict[str, Any]]:
        """What the fakes have logged of that kind."""
        return [entry for entry in read_log(self.log) if entry["event"] == event]


@contextmanager
def pools(folder: Path, environ: dict[str, str]) -> Iterator[Callable[..., PoolOfFakes]]:
    """A maker of pools, none of which leaves a process behind."""
    begun: list[PoolOfFakes] = []
    with Lifelines(folder) as lines:

        def make(**rules: Any) -> PoolOfFakes:
            full = {**environ, **rules.pop("environ", {})}
            begun.append(PoolOfFakes(folder, full, lines, **rules))
            return begun[-1]

        yield make
        for pool in begun:
            for slot in pool._slots:
                if slot.state == SlotState.BUSY and slot.process is not None:
                    slot.process.shorten_timeouts()
                    pool.discard(slot.process)
            pool.close()
        assert lines.wait_for(0), "a process is left"


def ask(process: ClaudeProcess, question: str, tokens: int = 0) -> PendingAnswer:
    """The reply to a question, once so many tokens of it are there."""
    heard = Heard()
    reply = process.ask(question, heard.take)
    wait_for(lambda: heard.tokens >= tokens, what="a token")
    return reply


def wait_result(reply: PendingAnswer) -> None:
    """Wait for a result; a `wait` also returns without one, when something else has changed."""
    wait_for(lambda: reply.wait(time.monotonic() + 0.2) is not None, PATIENCE_S, "a result")


def answer(process: ClaudeProcess, question: str) -> str:
    """The text of the answer."""
    reply = ask(process, question)
    wait_result(reply)
    assert reply.result is not None
    return reply.result.text


def seconds(call: Callable[..., Any], *arguments: Any) -> float:
    """How long a call takes."""
    begun = time.monotonic()
    call(*arguments)
    return time.monotonic() - begun
