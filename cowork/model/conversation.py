"""Places in sessions behind which other APIs' clients go on."""

from __future__ import annotations

from dataclasses import dataclass

from cowork.model.session import Project


@dataclass(frozen=True, slots=True)
class ConversationNode:
    """The end of turn `turn_id` in a session: what a client goes on behind that sends a history.

    `key` is the digest of all that was said up to there, as such a client sends it.  The session
    need not be the project's any more: its transcript is found by `session_id` and `cwd`.
    """

    project: Project
    key: str
    session_id: str
    cwd: str
    turn_id: str
