"""Fixtures of the tests of what is for Prometheus."""

from __future__ import annotations

import shutil

import pytest

from tests.conftest import missing


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus' own checker; absent, the test is skipped at home and fails in CI."""
    found = shutil.which("promtool")
    if found is None:
        missing("promtool", "apt-get install prometheus")
    return str(found)
