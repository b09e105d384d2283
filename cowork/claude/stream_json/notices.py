"""Messages that say something besides the text: tools, retries, limits; each an event.  Pure."""

from __future__ import annotations

from typing import Any

from cowork.claude.stream_json.protocol import Message, text_of
from cowork.events import Event, Status, ToolResult, ToolUse

TOOL_RESULT_LIMIT_CHARS = 64 * 1024
_RETRY_FACTS = ("attempt", "max_retries", "retry_delay_ms", "error_status", "error")
_LIMIT_FACTS = ("status", "resetsAt", "rateLimitType", "utilization")


def tool_use(block: Message) -> ToolUse:
    """A tool that the model calls."""
    given = block.get("input")
    return ToolUse(
        id=str(block.get("id", "")),
        name=str(block.get("name", "")),
        input=given if isinstance(given, dict) else {},
    )


def tool_result(tool: str, block: Message, *, cut: bool) -> ToolResult:
    """What that tool gave back; `cut` is whether the line was."""
    text = text_of(block.get("content"))
    return ToolResult(
        id=tool,
        content=text[:TOOL_RESULT_LIMIT_CHARS],
        is_error=block.get("is_error") is True,
        truncated=cut or len(text) > TOOL_RESULT_LIMIT_CHARS,
    )


def system_status(message: Message) -> list[Event]:
    """What a `system` message says of the CLI's work, if it does."""
    subtype = message.get("subtype")
    if subtype == "status" and isinstance(message.get("status"), str):
        return [Status(message["status"])]
    if subtype == "api_retry":
        return [Status("api_retry", _facts(message, _RETRY_FACTS))]
    if subtype in ("compact_boundary", "model_fallback"):
        return [Status(str(subtype))]
    return []


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
