"""What the operator decided about turns."""

from __future__ import annotations

from dataclasses import dataclass

from cowork.claude.workspace import Workspace


@dataclass(frozen=True, slots=True)
class TurnPolicy:
    """Durations are seconds."""

    workspace: Workspace
    permission_mode: str = "default"
    slash_commands: bool = False
    timeout: float = 300.0
    queue_limit: int = 8
    disconnect_grace: float = 30.0
    checkpoints: bool = False
