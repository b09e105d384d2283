"""What sub-agents are called: what is told of them later does not say which they are."""

from __future__ import annotations

from dataclasses import replace

from cowork.events import Event, Subagent

# Sub-agents of one turn whose names are remembered.
_LIMIT = 200


class SubagentNames:
    """The sub-agents of one turn, by their ids."""

    def __init__(self) -> None:
        self._begun: dict[str, Subagent] = {}

    def named(self, event: Event) -> Event:
        """A sub-agent's event, with what was told of it when it started."""
        if not isinstance(event, Subagent):
            return event
        begun = self._begun.get(event.id)
        if event.state == "started" and len(self._begun) < _LIMIT:
            self._begun[event.id] = event
        if begun is None:
            return event
        return replace(event, name=begun.name, description=event.description or begun.description)
