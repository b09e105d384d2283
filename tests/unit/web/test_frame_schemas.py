"""What `frames.py` writes is what the OpenAPI document says of it."""

from __future__ import annotations

import json
from typing import get_args

import jsonschema_rs
import pytest

from cowork import events
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
from cowork.model import Project
from cowork.turns.question import Question
from cowork.turns.turn import Turn
from cowork.web.frame_schemas import FRAME, FRAMES
from cowork.web.frames import frame_data, turn_frame_data
from cowork.web.framing import PlainFraming
from cowork.web.schemas.base import EVENTS

ALL = frozenset(EVENTS)
DOCUMENT = {"components": {"schemas": {**FRAMES, "Frame": FRAME}}}
MADE = {
    "ReplaceFrame": [Replace("text")],
    "ThinkingFrame": [Thinking("hm")],
    "ToolUseFrame": [
        ToolUse("t1", "Bash", {"command": "ls"}),
        ToolUse("t2", "Bash", {"command": "ls"}, "t1"),
    ],
    "ToolResultFrame": [
        ToolResult("t1", "out", False),
        ToolResult("t1", "o", True, truncated=True, duration_ms=12),
    ],
    "UsageFrame": [RequestUsage(1, 2), RequestUsage(1, 2, 0.5)],
    "SubagentFrame": [
        Subagent("a1", "started", "Plan", "looks"),
        Subagent("a1", "progress", "Plan", "reads", "Read", 12),
    ],
    "TodoFrame": [Todo([{"text": "cook", "state": "pending"}])],
    "ApprovalFrame": [
        ApprovalRequested("p1", "tool", "Bash", {"command": "ls"}, "2026-01-01T00:00:00+00:00"),
        ApprovalRequested("p2", "question", "Ask", {"questions": [{}]}, "soon", "why", [{}], "a1"),
        ApprovalRequested("p3", "plan", "ExitPlanMode", {"plan": "cook"}, "soon"),
    ],
    "ApprovalResolvedFrame": [
        ApprovalResolved("p1", "expired"),
        ApprovalResolved("p1", "allow", "me"),
    ],
    "StatusFrame": [
        Status("requesting"),
        Status("queued", {"position": 2, "type": "not this"}),
        Status(
            "any",
            {"position": 2, "steer_id": "s", "state": "joined", "turn_id": "t", "text": "said"},
        ),
    ],
    "ErrorFrame": [Failed("claude_failed", "it died", {"retry_after": 3, "code": "not this"})],
    "DoneFrame": [
        Done(success=False, message=""),
        Done(
            *(True, "text", "s", True, True, True, {"input_tokens": 1}, 0.5, 12, {"a": 1}, True),
            *("claude-x", "end_turn", {"claude-x": {"cost_usd": 0.5}}),
            permission_denials=[{"tool": "Bash", "input": {}, "why": "no"}],
            files_changed=["a.txt"],
        ),
    ],
}


def check(data: bytes, name: str) -> None:
    """It is a frame, of this kind alone, and has no key that the kind does not name."""
    value = json.loads(data)
    schema = {**DOCUMENT, **FRAME}
    jsonschema_rs.Draft202012Validator(schema).validate(value)
    own = FRAMES[name]
    jsonschema_rs.Draft202012Validator(own).validate(value)
    assert value["type"] == own["properties"]["type"]["const"]
    assert value.keys() <= own["properties"].keys()


@pytest.mark.parametrize("name", MADE)
def test_fault_w5_w10_each_frame_is_as_its_schema_says(name: str) -> None:
    for event in MADE[name]:
        data = frame_data(event, ALL, "turn-1")
        assert data is not None
        check(data, name)
    properties = set(FRAMES[name]["properties"])
    seen = set().union(*(json.loads(frame_data(each, ALL, "t") or b"{}") for each in MADE[name]))
    assert seen == properties, "the last of each kind has every key"


def test_fault_w5_w10_tokens_and_turns_are_as_their_schemas_say() -> None:
    turn = Turn(Project("", "p"), Question("hi"))
    tokens = PlainFraming(turn, ALL).tokens([json.dumps("a\nb").encode(), b'"c"'], 1)
    for each in tokens.split(b"\n\n")[:-1]:
        check(each.removeprefix(b"data: "), "TokenFrame")
    check(turn_frame_data(turn), "TurnFrame")


def test_fault_w10_every_event_and_every_frame_has_its_schema() -> None:
    made = {type(event) for some in MADE.values() for event in some} | {Token}
    assert made == set(get_args(Event))
    assert {*MADE, "TokenFrame", "TurnFrame"} == FRAMES.keys()
    assert events.TokenBatch not in made  # it is written as tokens
