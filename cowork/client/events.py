"""What a turn says, as it comes: the frames of docs/api.md as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a turn has said; `number` grows within it, `frame` is the JSON as it came."""

    number: int
    frame: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Token(Event):
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Replace(Event):
    """What was streamed is void: `text` is the answer so far."""

    text: str


@dataclass(frozen=True, slots=True)
class Thinking(Event):
    """A piece of the model's thinking."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolUse(Event):
    """The model calls a tool, or a sub-agent does, whose own call is `parent_id`."""

    id: str
    name: str
    input: Mapping[str, Any]
    parent_id: str | None


@dataclass(frozen=True, slots=True)
class ToolResult(Event):
    """What the call `id` gave back; `content` is cut at 64 KiB."""

    id: str
    content: Any
    is_error: bool
    duration_ms: float | None


@dataclass(frozen=True, slots=True)
class Status(Event):
    """What it does while it is silent, such as `queued` or `api_retry`; facts are in `frame`."""

    status: str


@dataclass(frozen=True, slots=True)
class Usage(Event):
    """What the turn took so far, told after a request to the model; `cost_usd` may be unknown."""

    input_tokens: int
    output_tokens: int
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Subagent(Event):
    """A sub-agent has `started`, makes `progress`, has `ended`."""

    id: str
    state: str
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Todo(Event):
    """The model's list of what is to be done, whole each time: `text` and `state` of each item."""

    items: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ApprovalRequested(Event):
    """The turn waits for a person; `kind` is `tool`, `question` or `plan`.

    `questions` has the model's questions with their options, `plan` its plan, `suggestions` what
    `remember="session"` would apply, `expires_at` when it is denied by itself (RFC 3339).
    """

    id: str
    kind: str
    tool: str
    input: Mapping[str, Any]
    reason: str | None
    questions: tuple[Mapping[str, Any], ...]
    plan: str | None
    suggestions: tuple[Any, ...]
    expires_at: str | None


@dataclass(frozen=True, slots=True)
class ApprovalResolved(Event):
    """It goes on: `allow`, `deny`, `answer`, `expired` or `cancelled`, and who decided."""

    id: str
    decision: str
    decided_by: str | None


@dataclass(frozen=True, slots=True)
class TurnState(Event):
    """How the turn stands when its stream begins; `position` turns of its project come first."""

    turn_id: str
    state: str
    position: int


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """The turn failed; `Done` follows."""

    sentence: str
    code: str


@dataclass(frozen=True, slots=True)
class Done(Event):
    """The end.  `message` is the whole answer where what was streamed is not."""

    success: bool
    session_id: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Other(Event):
    """A kind that this client does not know; newer servers may have some."""

    type: str


def event_of(place: int, frame: Mapping[str, Any]) -> Event:
    """The event of a frame.  What a newer server says differently is `Other`, never an error."""
    kind = frame.get("type")
    make = _KINDS.get(kind) if isinstance(kind, str) else None
    if frame.get("done") is True:  # whatever it is called: plain streams do not call it anything
        make = _done
    try:
        return make(place, frame) if make else Other(place, frame, str(kind))
    except (KeyError, TypeError, ValueError):
        return Other(place, frame, str(kind))


def number(value: Any) -> float | None:
    """A number, or None for whatever else a server may have sent."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def text(value: Any) -> str | None:
    """A text, or None for whatever else a server may have sent."""
    return value if isinstance(value, str) else None


def _tool_use(place: int, frame: Mapping[str, Any]) -> Event:
    parent = text(frame.get("parent_id"))
    return ToolUse(place, frame, str(frame["id"]), str(frame["name"]), dict(frame["input"]), parent)


def _tool_result(place: int, frame: Mapping[str, Any]) -> Event:
    took = number(frame.get("duration_ms"))
    is_error = frame["is_error"] is True
    return ToolResult(place, frame, str(frame["id"]), frame.get("content"), is_error, took)


def _usage(place: int, frame: Mapping[str, Any]) -> Event:
    tokens = int(frame["input_tokens"]), int(frame["output_tokens"])
    return Usage(place, frame, *tokens, number(frame.get("cost_usd")))


def _subagent(place: int, frame: Mapping[str, Any]) -> Event:
    facts = (str(frame[name]) for name in ("id", "state", "name", "description"))
    return Subagent(place, frame, *facts)


def _todo(place: int, frame: Mapping[str, Any]) -> Event:
    return Todo(place, frame, tuple(dict(item) for item in frame["items"]))


def _approval(place: int, frame: Mapping[str, Any]) -> Event:
    return ApprovalRequested(
        place,
        frame,
        id=str(frame["id"]),
        kind=str(frame["kind"]),
        tool=str(frame["tool"]),
        input=dict(frame["input"]),
        reason=text(frame.get("reason")),
        questions=tuple(dict(each) for each in frame.get("questions") or ()),
        plan=text(frame.get("plan")),
        suggestions=tuple(frame.get("suggestions") or ()),
        expires_at=text(frame.get("expires_at")),
    )


def _resolved(place: int, frame: Mapping[str, Any]) -> Event:
    said = str(frame["id"]), str(frame["decision"])
    return ApprovalResolved(place, frame, *said, text(frame.get("decided_by")))


def _turn(place: int, frame: Mapping[str, Any]) -> Event:
    said = str(frame["turn_id"]), str(frame["state"])
    return TurnState(place, frame, *said, int(frame.get("position") or 0))


def _done(place: int, frame: Mapping[str, Any]) -> Event:
    # Without the word it is a plain last frame, which says nothing of how it went.
    success = frame.get("success", True) is True
    return Done(place, frame, success, text(frame.get("session_id")), text(frame.get("message")))


_KINDS = {
    "token": lambda place, frame: Token(place, frame, str(frame["token"])),
    "replace": lambda place, frame: Replace(place, frame, str(frame["text"])),
    "thinking": lambda place, frame: Thinking(place, frame, str(frame["text"])),
    "status": lambda place, frame: Status(place, frame, str(frame["status"])),
    "error": lambda place, frame: Failed(place, frame, str(frame["error"]), str(frame["code"])),
    "tool_use": _tool_use,
    "tool_result": _tool_result,
    "usage": _usage,
    "subagent": _subagent,
    "todo": _todo,
    "approval": _approval,
    "approval_resolved": _resolved,
    "turn": _turn,
}
