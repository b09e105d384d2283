"""Which session answers a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from cowork.dialects.request import DialectRequest
from cowork.model import Project
from cowork.runtime.ids import new_id

SessionState = Literal["new", "continued", "forked", "rebuilt"]


@dataclass(frozen=True, slots=True)
class Placement:
    """The project whose session answers, and what becomes of that."""

    project: Project
    state: SessionState


class Placements(Protocol):
    """Finds the session of a request."""

    def place(self, owner: str, asked: DialectRequest) -> Placement:
        """Where the owner's request is asked; raises `StoreUnavailable`."""
        ...


class NamedPlacements:
    """A name is the project; without one each request begins a session of its own."""

    def place(self, owner: str, asked: DialectRequest) -> Placement:
        """As the protocol has it; asks no store."""
        if asked.name is None:
            return Placement(Project(owner, f"unnamed-{new_id()}"), "new")
        return Placement(Project(owner, asked.name.text), "continued")
