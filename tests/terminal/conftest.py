"""Fixtures of the terminal's tests: one server for the tests of a module, and its commands.

Real gunicorn, the real CLI, the demo model, and the command as a shell starts it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import _descriptors, _left, _threads, nothing_left
from tests.e2e.environment import Stage, open_stage
from tests.terminal.shell import KEY, Shell


# Takes the place of the detector that looks after each test: a server outlives one.
@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the last test of a module that leaves a process, thread or file descriptor behind."""
    before = _threads(), _descriptors()
    yield
    nothing_left(request.node.name, lambda: _left(*before))


@pytest.fixture(scope="module")
def stage(real_claude: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server with a key, whose turns may ask."""
    folder = tmp_path_factory.mktemp("stage")
    settings = {"COWORK_APPROVALS": "optional", "COWORK_API_KEYS": f"me={KEY}"}
    with open_stage(folder, real_claude, **settings) as opened:
        yield opened


@pytest.fixture
def shell(stage: Stage, tmp_path: Path) -> Iterator[Shell]:
    """Commands to that server."""
    with ExitStack() as stack:
        yield Shell(stage.server.url, tmp_path, stack)


@pytest.fixture
def staged(real_claude: str, tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Start a server of the test's own."""
    with ExitStack() as stack:

        def start(**settings: object) -> Stage:
            folder = tmp_path / f"stage-{time.monotonic_ns()}"
            return stack.enter_context(open_stage(folder, real_claude, **settings))  # type: ignore[arg-type]

        yield start
