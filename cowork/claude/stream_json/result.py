"""How the CLI ended a turn."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cowork.claude.stream_json.protocol import Message
from cowork.errors import CoworkError

_SESSION_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Result:
    """How the CLI ended a turn; `error` is None for an answer.

    `text` is the whole answer, or as much as there is of a turn that failed.  `interrupted` is
    whether the CLI stopped because it was told to.  `cost_usd` is this turn's, and so are `spent`,
    the tokens of all its models; `usage` is the CLI's own object, in which sub-agents are missing.
    `usage_by_model` is what `spent` and `cost_usd` are the sums of, under the names of `usage` and
    `cost_usd`; None where the CLI does not tell it.
    `session_id` is what the CLI will resume, where it is not the session that was asked.
    `structured_output` is the answer to a question with a schema; `text` is then its JSON.
    `context_tokens` is what the last request took, of `context_limit` that its model takes.
    The rest is as in `events.Done`.
    """

    text: str
    error: CoworkError | None = None
    interrupted: bool = False
    replaced: bool = False
    usage: dict[str, Any] | None = None
    cost_usd: float | None = None
    spent: dict[str, Any] | None = None
    usage_by_model: dict[str, dict[str, Any]] | None = None
    session_id: str | None = None
    structured_output: Any = None
    model: str | None = None
    stop_reason: str | None = None
    context_tokens: int = 0
    context_limit: int = 0
    permission_denials: tuple[Mapping[str, Any], ...] = ()
    files_changed: tuple[str, ...] = ()


def session_of(message: Message) -> str | None:
    """The session's id in a `result`, where it is one as the CLI takes it."""
    found = message.get("session_id")
    return found if isinstance(found, str) and _SESSION_ID.fullmatch(found) else None
