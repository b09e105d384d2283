"""What an answer says besides its turn's events: of its request, and of its turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from cowork.events import Done

DEFAULT_MODEL = "cowork"


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """`created` is the turn's, whole seconds since 1970; `model` as the request wrote it.

    `session_state` is what the session was thought to be when the question was asked.
    `forced_tool` is the name of the tool whose call is the answer; `is_structured` says that the
    answer is a value, whose text is there only at the end.  `events` are kinds besides text.
    """

    turn_id: str
    created: int
    model: str
    session_state: str
    forced_tool: str | None = None
    is_structured: bool = False
    wants_usage: bool = False
    events: frozenset[str] = frozenset()

    @property
    def hides_tokens(self) -> bool:
        """Whether what the model writes meanwhile is not the answer."""
        return self.is_structured or self.forced_tool is not None

    def facts(self, done: Done) -> dict[str, Any]:
        """What is ours of an answer: its key `cowork`."""
        return {
            "turn_id": self.turn_id,
            "session_id": done.session_id,
            "session_state": done.session_state or self.session_state,
            "cost_usd": done.cost_usd,
            "duration_ms": done.duration_ms,
        }


def answer_text(done: Done) -> str:
    """The answer as text; the JSON of one that is a value."""
    if done.structured_output is not None and not done.message:
        return orjson.dumps(done.structured_output).decode()
    return done.message
