"""The events of a turn.

A turn's log is a list of these, in the order they happened; an HTTP reply is one reader of that
list.  They are values: no behaviour, no HTTP, no knowledge of the CLI's own words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Token(NamedTuple):
    """Text that the model just produced; joined in order, the tokens are the answer.

    A `NamedTuple`, not a frozen dataclass: it is made once per model token, and costs half.
    """

    text: str


class TokenBatch(NamedTuple):
    """Several tokens in a row, each as the JSON string it came as: the way a turn is told them.

    The log numbers and gives back every one of them as a `Token` of its own.
    """

    literals: list[bytes]


@dataclass(frozen=True, slots=True)
class Replace:
    """The answer so far was wrong (the model's connection broke); `text` stands in its place."""

    text: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """A piece of the model's thinking; never part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The model calls a tool; `parent_id` is the call of the sub-agent that does, if one does."""

    id: str
    name: str
    input: Mapping[str, Any]
    parent_id: str | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back; `truncated` says that `content` is cut, at 64 KiB or altogether.

    `duration_ms` is None where the CLI did not say when it was called and when it ended.
    """

    id: str
    content: str
    is_error: bool
    truncated: bool = False
    duration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What the turn is doing while it is silent: `queued`, `requesting`, `api_retry`, ..."""

    state: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestUsage:
    """What one request to the model took; `cost_usd` is the turn's so far, None if unknown."""

    input_tokens: int
    output_tokens: int
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Subagent:
    """A sub-agent has `started`, makes `progress` or has `ended`."""

    id: str
    state: str
    name: str
    description: str
    last_tool: str | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Todo:
    """The model's list of what it is to do, whole: `text` and `state` of each item."""

    items: Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class ApprovalRequested:
    """A tool waits for somebody's yes; the fields are those of `model.Approval`."""

    id: str
    kind: str
    tool: str
    input: Mapping[str, Any]
    expires_at: str
    reason: str | None = None
    suggestions: Sequence[Mapping[str, Any]] | None = None
    subagent_id: str | None = None


@dataclass(frozen=True, slots=True)
class ApprovalResolved:
    """It waits no more: `decision` is one of `model.Decision`, `decided_by` a key's name."""

    id: str
    decision: str
    decided_by: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The turn failed; a `Done` with `success` false follows.

    `code` is one of the stable codes of `errors.py`, `message` one sentence for a person and
    `facts` what the error carries besides (`retry_after` in seconds, ...).
    """

    code: str
    message: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """The last event of every turn, exactly once.

    `message` is the whole answer, or the partial one of a turn that did not succeed.
    `replaced` says that the joined tokens are not `message`, so a reader must be told the text.
    `session_moved` says that the session goes on on another machine, without its directory.
    `structured_output` is the answer as a value, where the question came with a schema for it.
    `usage` is the CLI's own object for this turn; `cost_usd` is this turn's, not the process's,
    and so is `usage_by_model`.  `permission_denials` are tools that were refused: `tool`, `input`
    and `why`; `files_changed` what the edit tools changed, below the directory relative to it.
    `change` is what a fork or a rewind has made, which is no answer.
    `session_state` is what has become of the session of another API's client (`dialects/`).
    """

    success: bool
    message: str
    session_id: str | None = None
    is_new_session: bool = False
    session_recovered: bool = False
    replaced: bool = False
    usage: Mapping[str, Any] | None = None
    cost_usd: float | None = None
    duration_ms: int | None = None
    structured_output: Any = None
    session_moved: bool = False
    model: str | None = None
    stop_reason: str | None = None
    usage_by_model: Mapping[str, Any] | None = None
    permission_denials: list[Mapping[str, Any]] | None = None
    files_changed: list[str] | None = None
    change: Mapping[str, Any] | None = None
    session_state: str | None = None


Event = (
    Token
    | Replace
    | Thinking
    | ToolUse
    | ToolResult
    | Status
    | RequestUsage
    | Subagent
    | Todo
    | ApprovalRequested
    | ApprovalResolved
    | Failed
    | Done
)
Emitted = Event | TokenBatch
