"""What a project is doing now."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProjectState:
    """`state` is `idle`, `running` or `waiting`; `process` its pid, state and memory (bytes).

    `turn_id` is of the question that it is answering; None where it forks or rewinds.
    """

    state: str
    queued: int
    process: tuple[int, str, int | None] | None
    turn_id: str | None = None
