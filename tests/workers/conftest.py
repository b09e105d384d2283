"""Fixtures of the tests of several workers: servers that a module shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import _descriptors, _left, _threads, missing, nothing_left
from tests.redis_server import redis_binary
from tests.serving import Gunicorn
from tests.workers.places import NAMES, Places, open_places


# Takes the place of the detector that looks after each test: the servers outlive them.
@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the last test of a module that leaves a process, thread or file descriptor behind."""
    before = _threads(), _descriptors()
    yield
    nothing_left(request.node.name, lambda: _left(*before))


@pytest.fixture(scope="session")
def _redis() -> None:
    if redis_binary() is None:
        missing("redis-server", "apt-get install redis-server")


@pytest.fixture(scope="module")
def places(_redis: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """The servers, shared by the tests of a module."""
    with open_places(tmp_path_factory.mktemp("places")) as opened:
        yield opened


@pytest.fixture(params=NAMES)
def via(request: pytest.FixtureRequest, places: Places) -> Gunicorn:
    """The server that the test talks to: the project's own, and each of the others."""
    return places.servers[request.param]


@pytest.fixture
def project(places: Places) -> str:
    """A project whose worker is at home, with a session of one turn."""
    return places.project()
