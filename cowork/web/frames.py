"""What the frames of a stream say: each event of a turn as JSON.

Written as the founding document writes it, with a blank after each colon and comma, since some
clients search for `"done": true`.
"""

from __future__ import annotations

from json import JSONEncoder
from typing import Any

from cowork.events import (
    Done,
    Event,
    Failed,
    Replace,
    Status,
    Thinking,
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


def _body_of(event: Event, wanted: frozenset[str]) -> dict[str, Any] | None:  # noqa: PLR0911
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
    if isinstance(event, ToolUse) and "tool" in wanted:
        return {"type": "tool_use", "id": event.id, "name": event.name, "input": event.input}
    if isinstance(event, ToolResult) and "tool" in wanted:
        result = {"content": event.content, "is_error": event.is_error}
        cut = {"truncated": True} if event.truncated else {}
        return {"type": "tool_result", "id": event.id, **result, **cut}
    return None


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
    }
    if done.session_recovered:
        body["session_recovered"] = True
    if done.session_moved:
        body["session_moved"] = True
    if done.replaced:
        body["message"] = done.message
    return {**body, **structured(done)}


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
