"""Messages that say something besides the text: tools, retries, limits; each an event.  Pure."""

from __future__ import annotations

from typing import Any

from cowork.claude.stream_json.protocol import Message, text_of
from cowork.events import Event, Status, Subagent, ToolResult, ToolUse

TOOL_RESULT_LIMIT_CHARS = 64 * 1024
_RETRY_FACTS = ("attempt", "max_retries", "retry_delay_ms", "error_status", "error")
_FALLBACK_FACTS = ("trigger", "original_model", "fallback_model")
_STATUSES: dict[str, tuple[str, tuple[str, ...]]] = {
    "api_retry": ("api_retry", _RETRY_FACTS),
    "compact_boundary": ("compact_boundary", ()),
    "model_fallback": ("model_changed", _FALLBACK_FACTS),
}
_TASKS = {"task_started": "started", "task_progress": "progress", "task_notification": "ended"}
_DESCRIPTION = 500
_LIMIT_FACTS = ("status", "resetsAt", "rateLimitType", "utilization")


def tool_use(block: Message, parent: str | None = None) -> ToolUse:
    """A tool that the model calls, or a sub-agent's, whose own call is `parent`."""
    given = block.get("input")
    return ToolUse(
        id=str(block.get("id", "")),
        name=str(block.get("name", "")),
        input=given if isinstance(given, dict) else {},
        parent_id=parent,
    )


def tool_result(
    tool: str, block: Message, *, cut: bool, duration_ms: int | None = None
) -> ToolResult:
    """What that tool gave back; `cut` is whether the line was."""
    text = text_of(block.get("content"))
    return ToolResult(
        id=tool,
        content=text[:TOOL_RESULT_LIMIT_CHARS],
        is_error=block.get("is_error") is True,
        truncated=cut or len(text) > TOOL_RESULT_LIMIT_CHARS,
        duration_ms=duration_ms,
    )


def system_status(message: Message) -> list[Event]:
    """What a `system` message says of the CLI's work, if it does."""
    subtype = message.get("subtype")
    if not isinstance(subtype, str):
        return []
    if subtype == "status" and isinstance(message.get("status"), str):
        return [Status(message["status"])]
    if subtype in _STATUSES:
        name, facts = _STATUSES[subtype]
        return [Status(name, _facts(message, facts))]
    if subtype in _TASKS and (subtype != "task_started" or _is_agent(message)):
        return [_subagent(_TASKS[subtype], message)]
    return []


def _is_agent(message: Message) -> bool:
    return message.get("task_type") == "local_agent"


def _subagent(state: str, message: Message) -> Subagent:
    usage = message.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    last_tool = message.get("last_tool_name")
    return Subagent(
        id=str(message.get("task_id", "")),
        state=state,
        name=str(message.get("subagent_type", "")),
        description=str(message.get("description") or message.get("summary") or "")[:_DESCRIPTION],
        last_tool=last_tool if isinstance(last_tool, str) else None,
        tokens=tokens if isinstance(tokens, int) else None,
    )


def media_removed(message: Message) -> Status | None:
    """That the CLI took an attachment out which the model's service refused, if it says so."""
    if message.get("api_error") != "media_removed":
        return None
    facts = message.get("api_error_params")
    told = _facts(facts, ("media", "media_reason")) if isinstance(facts, dict) else {}
    return Status("media_removed", told)


def rate_limit(info: Message) -> Status:
    """How far the login's limit is used."""
    return Status("rate_limit", _facts(info, _LIMIT_FACTS))


def rejected_until(info: Message) -> float | None:
    """When a limit that was reached resets (Unix time), None where it was not."""
    resets_at = info.get("resetsAt")
    if info.get("status") == "rejected" and isinstance(resets_at, int | float):
        return float(resets_at)
    return None


def _facts(message: Message, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: message[name] for name in names if message.get(name) is not None}
