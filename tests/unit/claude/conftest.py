"""Fixtures of the tests of processes and their pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.claude.pool_of_fakes import PoolOfFakes, pools


@pytest.fixture
def new_pool(fake_environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., PoolOfFakes]]:
    """A maker of pools over the fake CLI: `new_pool(limit=1, config={"start": "hang"})`."""
    with pools(tmp_path, fake_environ) as make:
        yield make
