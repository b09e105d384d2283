"""What the frames of a stream say: each event of a turn as JSON.

Written as the founding document writes it, with a blank after each colon and comma, since some
clients search for `"done": true`.
"""

from __future__ import annotations

from json import JSONEncoder
from typing import Any

from cowork.events import Done, Event
from cowork.turns.event_bodies import event_body
from cowork.turns.outcome import TurnState
from cowork.turns.turn import Turn

_ENCODE = JSONEncoder(ensure_ascii=False).encode


def frame_data(event: Event, wanted: frozenset[str], turn_id: str) -> bytes | None:
    """The JSON of an event's frame, or None where this client gets none; for all but tokens."""
    body = _last_frame(event, turn_id) if isinstance(event, Done) else event_body(event, wanted)
    return None if body is None else _ENCODE(body).encode()


def turn_frame_data(turn: Turn) -> bytes:
    """The JSON of the frame that tells how a turn stands."""
    waits = turn.state is TurnState.QUEUED
    body = {
        "type": "turn",
        "turn_id": turn.id,
        "project_id": turn.project.told_name,
        "state": turn.state.value,
        "position": turn.queue_position if waits else 0,
    }
    return _ENCODE(body).encode()


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
