"""A turn's events as the AI SDK's UI message stream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cowork.dialects.ai_sdk.rendering import DEFAULT_EVENTS, UiMessageRenderer
from cowork.events import (
    Done,
    Event,
    Failed,
    Replace,
    Status,
    Thinking,
    ToolResult,
    ToolUse,
)
from cowork.model import Project
from cowork.turns.question import Question
from cowork.turns.turn import Turn

TURN_ID = "0b54d9e9-8d8b-4b7a-93f4-2f4b3a1c6f0e"
DONE = Done(success=True, message="Hello", session_id="s", usage={"input_tokens": 3}, cost_usd=0.5)
CALL = ToolUse("t1", "Bash", {"command": "ls"})
OURS = {"dynamic": True, "providerExecuted": True}


def rendered(*events: Event | list[str], wanted: frozenset[str] = DEFAULT_EVENTS) -> list[Any]:
    """What a client reads: each frame's JSON, and the words of the last one."""
    renderer = UiMessageRenderer(Turn(Project("", "p"), Question(""), turn_id=TURN_ID), wanted)
    written = renderer.begin()
    for number, event in enumerate(events, 1):
        if isinstance(event, list):
            written += renderer.tokens([json.dumps(each).encode() for each in event], number)
        else:
            written += renderer.event(event, number)
    frames = written.decode().split("\n\n")
    assert frames.pop() == ""
    assert all(frame.startswith("data: ") for frame in frames)
    said = [frame.removeprefix("data: ") for frame in frames]
    return [each if each == "[DONE]" else json.loads(each) for each in said]


def types(frames: list[Any]) -> list[str]:
    return [each if isinstance(each, str) else each["type"] for each in frames]


def test_an_answer_is_a_message_with_a_step_and_a_text() -> None:
    frames = rendered(["Hel", 'l"o'], DONE)
    metadata = {"turn_id": TURN_ID, "session_id": None}
    assert frames == [
        {"type": "start", "messageId": TURN_ID, "messageMetadata": metadata},
        {"type": "start-step"},
        {"type": "text-start", "id": "text-1"},
        {"type": "text-delta", "id": "text-1", "delta": "Hel"},
        {"type": "text-delta", "id": "text-1", "delta": 'l"o'},
        {"type": "text-end", "id": "text-1"},
        {"type": "finish-step"},
        {
            "type": "finish",
            "finishReason": "stop",
            "messageMetadata": {
                "turn_id": TURN_ID,
                "session_id": "s",
                "usage": {"input_tokens": 3},
                "cost_usd": 0.5,
                "duration_ms": None,
            },
        },
        "[DONE]",
    ]


def test_a_text_ends_before_a_tool_and_another_begins_behind_it() -> None:
    result = ToolResult("t1", "a.txt", is_error=False)
    frames = rendered(["I look."], CALL, result, ["\n\n", "There."], DONE)
    assert types(frames)[2:-3] == [
        *("text-start", "text-delta", "text-end"),
        *("tool-input-available", "tool-output-available"),
        *("text-start", "text-delta", "text-delta", "text-end"),
    ]
    called = {"toolCallId": "t1", "toolName": "Bash", "input": {"command": "ls"}, **OURS}
    assert frames[5] == {"type": "tool-input-available", **called}
    output = {"toolCallId": "t1", "output": "a.txt", **OURS}
    assert frames[6] == {"type": "tool-output-available", **output}
    assert [each["id"] for each in frames[:-1] if each["type"] == "text-start"] == [
        "text-1",
        "text-2",
    ]


def test_a_tool_that_failed_says_why() -> None:
    frame = rendered(CALL, ToolResult("t1", "no such file", is_error=True))[-1]
    said = {"toolCallId": "t1", "errorText": "no such file", **OURS}
    assert frame == {"type": "tool-output-error", **said}


def test_a_result_whose_call_was_not_told_is_not_told() -> None:
    frames = rendered(ToolResult("t1", "a.txt", is_error=False), DONE)
    assert types(frames) == ["start", "start-step", "finish-step", "finish", "[DONE]"]


def test_thinking_is_a_block_of_its_own() -> None:
    frames = rendered(Thinking("Hm"), Thinking(", so"), ["Yes"], DONE)
    assert types(frames)[2:-3] == [
        *("reasoning-start", "reasoning-delta", "reasoning-delta", "reasoning-end"),
        *("text-start", "text-delta", "text-end"),
    ]
    assert [each["delta"] for each in frames[3:5]] == ["Hm", ", so"]


def test_a_client_that_wants_neither_tools_nor_thinking_reads_one_text() -> None:
    result = ToolResult("t1", "a.txt", is_error=False)
    frames = rendered(Thinking("Hm"), ["a"], CALL, result, ["b"], DONE, wanted=frozenset())
    assert types(frames)[2:-3] == ["text-start", "text-delta", "text-delta", "text-end"]


def test_what_the_protocol_has_no_word_for_is_transient_data() -> None:
    frame = rendered(Status("queued", {"position": 2}), wanted=frozenset({"status"}))[-1]
    data = {"type": "status", "status": "queued", "position": 2}
    assert frame == {"type": "data-cowork", "data": data, "transient": True}
    assert types(rendered(Status("queued"))) == ["start", "start-step"]


def test_a_text_that_was_replaced_is_told_at_the_end() -> None:
    done = Done(success=True, message="Right", replaced=True)
    frames = rendered(["Wro"], Replace("Right"), done)
    assert "replace" not in str(frames)
    assert frames[-2]["messageMetadata"]["message"] == "Right"


@pytest.mark.parametrize(
    ("failed", "frame"),
    [
        (Failed("claude_timeout", "too long"), {"type": "error", "errorText": "too long"}),
        (Failed("turn_interrupted", "stopped"), {"type": "abort", "reason": "stopped"}),
    ],
)
def test_a_failure_ends_what_is_open_and_the_stream(failed: Failed, frame: Any) -> None:
    frames = rendered(["half"], failed, Done(success=False, message="half"))
    assert frames[-3:] == [{"type": "text-end", "id": "text-1"}, frame, "[DONE]"]


def test_a_refusal_is_the_content_filter() -> None:
    frames = rendered(["No"], Done(success=True, message="No", stop_reason="refusal"))
    assert frames[-2]["finishReason"] == "content-filter"
