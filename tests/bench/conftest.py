"""Fixtures of the benchmarks' own tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench import fake
from bench.fake import Fake, NoCompilerError
from tests.conftest import missing
from tests.serving import Served


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Fake:
    """The fake CLI, built from C."""
    try:
        return fake.build(tmp_path_factory.mktemp("fake"))
    except NoCompilerError:
        missing("a C compiler", "apt-get install gcc libc6-dev")
        raise


@pytest.fixture
def server(built: Fake, serve: Callable[..., Served]) -> Served:
    """The application over that fake."""
    return serve(CLAUDE_CLI_PATH=str(built.path))
