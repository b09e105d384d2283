"""Fixtures of the console's tests: one Chromium and one server for the tests of a module.

Real gunicorn, the real CLI, the demo model: what the page shows went the whole way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import _descriptors, _left, _threads, nothing_left
from tests.console.browser import Browser, Page, open_browser
from tests.e2e.environment import Stage, open_stage


# Takes the place of the detector that looks after each test: server and browser outlive one.
@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the last test of a module that leaves a process, thread or file descriptor behind."""
    before = _threads(), _descriptors()
    yield
    nothing_left(request.node.name, lambda: _left(*before))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def stage(real_claude: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server as `make demo` runs it."""
    folder = tmp_path_factory.mktemp("stage")
    settings = {"COWORK_APPROVALS": "optional", "COWORK_DEMO": "true"}
    with open_stage(folder, real_claude, **settings) as opened:
        yield opened


@pytest.fixture
def opened(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """Open tabs that are closed after the test, and have complained of nothing."""
    tabs: list[Page] = []

    def open_page(url: str, **options: object) -> Page:
        page = browser.page(url, **options)  # type: ignore[arg-type]
        tabs.append(page)
        if options.get("beside") is None:
            alone.append(page)
        return page

    alone: list[Page] = []
    yield open_page
    for number, page in enumerate(tabs):
        if not page.is_closed:
            page.shot(f"{request.node.name}-{number}")
    problems = [problem for page in tabs for problem in page.problems()]
    for page in alone:
        page.forget()
    assert problems == []


@pytest.fixture
def staged(real_claude: str, tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Start a server of the test's own."""
    with ExitStack() as stack:

        def start(**settings: object) -> Stage:
            folder = tmp_path / f"stage-{time.monotonic_ns()}"
            return stack.enter_context(open_stage(folder, real_claude, **settings))  # type: ignore[arg-type]

        yield start
