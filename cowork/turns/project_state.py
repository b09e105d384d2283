"""What a project is doing now."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProjectState:
    """`state` is `idle`, `running` or `waiting`; `process` its pid, state and memory (bytes)."""

    state: str
    queued: int
    process: tuple[int, str, int | None] | None
