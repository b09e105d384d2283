"""What a process says to a turn, as the events that a reader of the turn would get."""

from __future__ import annotations

import json

from cowork.events import Emitted, Event, Token, TokenBatch


class Heard(list[Event]):
    """Give its `take` to `ClaudeProcess.ask`."""

    def take(self, events: list[Emitted]) -> None:
        for event in events:
            if isinstance(event, TokenBatch):
                self += [Token(json.loads(literal)) for literal in event.literals]
            else:
                self.append(event)

    @property
    def tokens(self) -> int:
        return sum(isinstance(event, Token) for event in self)
