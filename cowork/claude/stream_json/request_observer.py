"""Who is told of a turn's requests to the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class RequestObserver(Protocol):
    """Whoever counts what a turn asks of the model; called from the reader thread."""

    def request_ended(self, usage: Mapping[str, Any]) -> None:
        """A request to the model is over, and took that."""

    def tools_ended(self) -> None:
        """All tools that a message called have given their results: the model is asked again."""
