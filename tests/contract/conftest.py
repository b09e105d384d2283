"""Fixtures of the contract tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.serving import Served
from tests.upstream import Upstream


@pytest.fixture
def connect(serve: Callable[..., Served], upstream: Upstream) -> Callable[..., Served]:
    """Start the application over the upstream; keyword arguments are settings."""
    return lambda **environ: serve(CHAT_API_BASE_URL=upstream.url, **environ)
