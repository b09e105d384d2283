"""What a turn's requests to the model take, counted from the stream.  Pure.

It is what there is to know of a process that ends without a `result`: the main agent's tokens.
What sub-agents take, and what any of it costs, the stream does not tell.
"""

from __future__ import annotations

from typing import Any

from cowork.claude.stream_json import billing
from cowork.claude.stream_json.billing import ByModel
from cowork.claude.stream_json.protocol import Message

# A turn has a few; what others take is counted without their names.
_MODELS_LIMIT = 20


class StreamedUsage:
    """`last` is what the latest request takes, as far as that was told."""

    def __init__(self) -> None:
        self.last: dict[str, Any] = {}
        self._model = ""
        self._ended: ByModel = {}

    def begin(self, body: Message, model: str | None) -> None:
        """A request has begun to be answered, by this message."""
        self._ended = self.by_model
        self.last, self._model = {}, model or ""
        self.update(body)

    def update(self, found: Message) -> None:
        """More is told of the latest request; what is told again is told of all of it."""
        usage = found.get("usage")
        if isinstance(usage, dict):
            self.last |= {name: value for name, value in usage.items() if value is not None}

    @property
    def by_model(self) -> ByModel:
        """The turn's tokens of each model so far, whose cost is not known."""
        if not self.last:
            return self._ended
        known = self._model in self._ended or len(self._ended) < _MODELS_LIMIT
        request = billing.uncosted(self._model if known else "", self.last)
        return billing.plus(self._ended, request)
