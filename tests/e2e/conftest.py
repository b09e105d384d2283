"""Fixtures of the end-to-end suite: one server a module, or one a test with its own settings.

A server that outlives a test is a child of this process, and so are the demo model's threads: the
leak detector looks when a module ends, by when everything has to be gone.  That nothing is left of
what a server itself started is checked as soon as it stops, by `stage.open_stage`.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.background import BackgroundCalls
from tests.conftest import _descriptors, _left, _threads, nothing_left
from tests.e2e.environment import Stage, open_stage
from tests.fake_claude.stage.config import VERSION
from tests.serving import Client


# Takes the place of the detector that looks after each test.
@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the last test of a module that leaves a process, thread or file descriptor behind."""
    before = _threads(), _descriptors()
    yield
    nothing_left(request.node.name, lambda: _left(*before))


@pytest.fixture(scope="module")
def stage(real_claude: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The server with default settings, shared by the tests of a module."""
    with open_stage(tmp_path_factory.mktemp("stage"), real_claude) as opened:
        yield opened


@pytest.fixture(scope="session")
def _newest(real_claude: str) -> None:
    """Skip what holds of the version alone that the fake plays: which events, with which keys."""
    said = subprocess.run([real_claude, "--version"], capture_output=True, text=True, check=True)
    version = [int(part) for part in said.stdout.split()[0].split(".")]
    if version < [int(part) for part in VERSION.split(".")]:
        pytest.skip(f"the fake has the events of {VERSION}; --version says {said.stdout.strip()}")


@pytest.fixture
def another() -> Iterator[Callable[..., Client]]:
    """A client with a connection of its own: `another(stage.server.url, key)`."""
    with ExitStack() as stack:

        def connect(url: str, key: str | None = None) -> Client:
            client = Client(url, key)
            stack.callback(client.close)
            return client

        yield connect


@pytest.fixture
def staged(
    real_claude: str,
    tmp_path: Path,
    background: BackgroundCalls,  # noqa: ARG001 - ends after the servers, so that no call waits for long
) -> Iterator[Callable[..., Stage]]:
    """Start a server of the test's own: `staged(delay=0.05, CLAUDE_TIMEOUT="1")`."""
    with ExitStack() as stack:

        def start(**settings: object) -> Stage:
            folder = tmp_path / f"stage-{time.monotonic_ns()}"
            return stack.enter_context(open_stage(folder, real_claude, **settings))  # type: ignore[arg-type]

        yield start
