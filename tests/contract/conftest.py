"""Fixtures of the contract tests: an upstream, a log of the fakes, calls beside the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.replies import Asides
from tests.fake_claude import Lifelines, configure, read_log
from tests.serving import Client, Served, wait_for
from tests.upstream import Upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A Chat API that takes every message."""
    with Upstream() as running:
        yield running


class Fakes:
    """What the fakes of a test did, and how they are told to behave."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "fakes.log"
        self._config = folder / "fakes.json"

    def settings(self, **keys: object) -> dict[str, str]:
        """The environment that makes every fake keep the log and obey `keys`."""
        return configure(self._config, log=str(self.log), **keys)

    def entries(self, event: str) -> list[dict[str, Any]]:
        return [entry for entry in read_log(self.log) if entry["event"] == event]

    @property
    def asked(self) -> list[str]:
        """The text of each question as it reached the CLI."""
        return [entry["text"] for entry in self.entries("asked")]

    def wait_asked(self, count: int = 1) -> None:
        """Wait until the CLI has so many questions."""
        wait_for(lambda: len(self.asked) >= count, what=f"question {count} at the CLI")


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    return Fakes(tmp_path)


@pytest.fixture
def logged(serve: Callable[..., Served], fakes: Fakes) -> Served:
    """The application with default settings, its fakes keeping a log."""
    return serve(**fakes.settings())


# After `serve`, so that the calls end before the server is asked whether anything is left.
@pytest.fixture
def aside(fake_environ: dict[str, str]) -> Iterator[Asides]:  # noqa: ARG001 - orders the ends
    """Run a call beside the test: `aside(served.ask, "hi")` is a future."""
    calls = Asides()
    yield calls
    calls.close()


@pytest.fixture
def lifelines(tmp_path: Path) -> Iterator[Lifelines]:
    """Counts the fakes and their tools that are alive."""
    with Lifelines(tmp_path) as lines:
        yield lines


@pytest.fixture
def another() -> Iterator[Callable[[Client], Client]]:
    """Another client of the same server: a connection of its own, and perhaps another key."""
    begun: list[Client] = []

    def connect(to: Client, key: str | None = None) -> Client:
        begun.append(Client(to.url, key))
        return begun[-1]

    yield connect
    for client in begun:
        client.close()


@pytest.fixture
def connect(serve: Callable[..., Served], upstream: Upstream) -> Callable[..., Served]:
    """Start the application over the upstream; keyword arguments are settings."""
    return lambda **environ: serve(CHAT_API_BASE_URL=upstream.url, **environ)
