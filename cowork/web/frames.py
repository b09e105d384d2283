"""What the frames of a stream say: each event of a turn as JSON.

Written as the founding document writes it, with a blank after each colon and comma, since some
clients search for `"done": true`.
"""

from __future__ import annotations

from collections.abc import Callable
from json import JSONEncoder
from typing import Any

from cowork.events import (
    ApprovalRequested,
    ApprovalResolved,
    Done,
    Event,
    Failed,
    Replace,
    RequestUsage,
    Status,
    Subagent,
    Thinking,
    Todo,
    Token,
    ToolResult,
    ToolUse,
)
from cowork.turns.event_log import Batch
from cowork.turns.outcome import State
from cowork.turns.turn import Turn

_ENCODE = JSONEncoder(ensure_ascii=False).encode


def frame_data(event: Event, wanted: frozenset[str], turn_id: str) -> bytes | None:
    """The JSON of an event's frame, or None where this client gets none; for all but tokens."""
    body = _last_frame(event, turn_id) if isinstance(event, Done) else _body_of(event, wanted)
    return None if body is None else _ENCODE(body).encode()


def turn_frame_data(turn: Turn) -> bytes:
    """The JSON of the frame that tells how a turn stands."""
    waits = turn.state is State.QUEUED
    body = {
        "type": "turn",
        "turn_id": turn.id,
        "project_id": turn.project.name,
        "state": turn.state.value,
        "position": turn.queue_position if waits else 0,
    }
    return _ENCODE(body).encode()


def _body_of(event: Event, wanted: frozenset[str]) -> dict[str, Any] | None:
    if isinstance(event, Failed):
        said = {"type": "error", "error": event.message, "code": event.code}
        return {**said, **event.facts, **said}
    if isinstance(event, Replace):
        return {"type": "replace", "text": event.text} if wanted else None
    if isinstance(event, Thinking) and "thinking" in wanted:
        return {"type": "thinking", "text": event.text}
    if isinstance(event, Status) and "status" in wanted:
        said = {"type": "status", "status": event.state}
        return {**said, **event.facts, **said}
    for kind, group, body_of in _BODIES:
        if isinstance(event, kind):
            return body_of(event) if group in wanted else None
    return None


def _tool_use(event: ToolUse) -> dict[str, Any]:
    said = {"type": "tool_use", "id": event.id, "name": event.name, "input": event.input}
    return said if event.parent_id is None else {**said, "parent_id": event.parent_id}


def _tool_result(event: ToolResult) -> dict[str, Any]:
    said = {
        "type": "tool_result",
        "id": event.id,
        "content": event.content,
        "is_error": event.is_error,
        "duration_ms": event.duration_ms,
    }
    return {**said, "truncated": True} if event.truncated else said


def _usage(event: RequestUsage) -> dict[str, Any]:
    return {
        "type": "usage",
        "input_tokens": event.input_tokens,
        "output_tokens": event.output_tokens,
        "cost_usd": event.cost_usd,
    }


def _subagent(event: Subagent) -> dict[str, Any]:
    said = {
        "type": "subagent",
        "id": event.id,
        "state": event.state,
        "name": event.name,
        "description": event.description,
    }
    more = {"last_tool": event.last_tool, "tokens": event.tokens}
    return {**said, **{name: each for name, each in more.items() if each is not None}}


def _todo(event: Todo) -> dict[str, Any]:
    return {"type": "todo", "items": list(event.items)}


def _approval(event: ApprovalRequested) -> dict[str, Any]:
    said = {
        "type": "approval",
        "id": event.id,
        "kind": event.kind,
        "tool": event.tool,
        "input": event.input,
        "suggestions": list(event.suggestions or ()),
        "expires_at": event.expires_at,
    }
    more = {
        "reason": event.reason,
        "subagent_id": event.subagent_id,
        "questions": event.input.get("questions") if event.kind == "question" else None,
        "plan": event.input.get("plan") if event.kind == "plan" else None,
    }
    return {**said, **{name: each for name, each in more.items() if each is not None}}


def _approval_resolved(event: ApprovalResolved) -> dict[str, Any]:
    return {
        "type": "approval_resolved",
        "id": event.id,
        "decision": event.decision,
        "decided_by": event.decided_by,
    }


# Each kind of event, the word that a client asks for it with, and its frame.
_BODIES: tuple[tuple[type, str, Callable[[Any], dict[str, Any]]], ...] = (
    (ToolUse, "tool", _tool_use),
    (ToolResult, "tool", _tool_result),
    (RequestUsage, "usage", _usage),
    (Subagent, "subagent", _subagent),
    (Todo, "todo", _todo),
    (ApprovalRequested, "approval", _approval),
    (ApprovalResolved, "approval", _approval_resolved),
)


def _last_frame(done: Done, turn_id: str) -> dict[str, Any]:
    body = {
        "done": True,
        "type": "done",
        "success": done.success,
        "turn_id": turn_id,
        "session_id": done.session_id,
        "is_new_session": done.is_new_session,
        "usage": done.usage,
        "total_cost_usd": done.cost_usd,
        "duration_ms": done.duration_ms,
        **facts_of(done),
    }
    if done.session_recovered:
        body["session_recovered"] = True
    if done.session_moved:
        body["session_moved"] = True
    if done.replaced:
        body["message"] = done.message
    return {**body, **structured(done)}


def facts_of(done: Done) -> dict[str, Any]:
    """What every form of an answer says of how it came about."""
    return {
        "model": done.model,
        "stop_reason": done.stop_reason,
        "usage_by_model": done.usage_by_model,
        "permission_denials": done.permission_denials or [],
        "files_changed": done.files_changed or [],
    }


def structured(done: Done) -> dict[str, Any]:
    """What every form of an answer has besides, where it was asked for with a schema."""
    found = done.structured_output
    return {} if found is None else {"structured_output": found}


def has_content(events: Batch, wanted: frozenset[str]) -> bool:
    """Whether a frame that is neither error nor end is among these."""
    return any(
        isinstance(event, Token) or _body_of(event, wanted) is not None
        for event in events
        if not isinstance(event, Failed | Done)
    )
