"""Fixtures of the turns' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.turns.raw_client import Line


@pytest.fixture
def dial() -> Iterator[Callable[..., Line]]:
    """A request on a bare socket: `dial(served, "/ask_question", {...})`."""
    begun: list[Line] = []

    def connect(*given: object, **named: object) -> Line:
        begun.append(Line(*given, **named))
        return begun[-1]

    yield connect
    for line in begun:
        line.close()
