"""What a turn waits for a person to decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from cowork.model.session import Project

# What becomes of an approval; the first three are somebody's answer.
Decision = Literal["allow", "deny", "answer", "expired", "cancelled"]
# Approvals that wait, of one owner and of all: the next is denied.
APPROVALS_OF_OWNER = 32
APPROVALS_LIMIT = 200
APPROVALS_KEEP_S = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Resolution:
    """What became of an approval, and who said so: a key's name, and the client's address.

    `message` is what the model is told.
    """

    decision: Decision
    at: datetime
    by: str | None = None
    address: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """A tool that a turn waits for somebody's yes to run.

    `kind` is `tool`, `question` or `plan`; `tool_use_id` is the CLI's name of the call.
    `input` and `suggestions` are kept while it waits, `input_digest` is for good.  `answer` is
    what the CLI is told, until it was (`applied`).
    """

    id: str
    project: Project
    turn_id: str
    kind: str
    tool: str
    tool_use_id: str
    input: Mapping[str, Any]
    input_digest: str
    created: datetime
    expires: datetime
    reason: str | None = None
    suggestions: tuple[Mapping[str, Any], ...] = ()
    subagent_id: str | None = None
    resolution: Resolution | None = None
    answer: Mapping[str, Any] | None = None
    applied: datetime | None = None
