"""What clients are told of a turn's events: each as a dictionary, whatever frame it stands in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cowork.events import (
    ApprovalRequested,
    ApprovalResolved,
    Event,
    Failed,
    Replace,
    RequestUsage,
    Status,
    Subagent,
    Thinking,
    Todo,
    ToolResult,
    ToolUse,
)


def event_body(event: Event, wanted: frozenset[str]) -> dict[str, Any] | None:
    """What is told of an event, as the founding document's frames say it; for all but tokens.

    None where the client, who asked for the kinds `wanted` besides tokens, is told nothing.
    """
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
