"""A turn's events as the stream of a message, and its answer as one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cowork.dialects.answer_head import AnswerHead
from cowork.dialects.messages.rendering import PING, MessagesRenderer
from cowork.dialects.messages.reply import messages_reply
from cowork.events import Done, Event, Failed, Replace, Status, Thinking, ToolResult, ToolUse

TURN_ID = "0b54d9e9-8d8b-4b7a-93f4-2f4b3a1c6f0e"
HEX = TURN_ID.replace("-", "")
USAGE = {
    "input_tokens": 3,
    "cache_creation_input_tokens": 4,
    "cache_read_input_tokens": 5,
    "output_tokens": 6,
}
FACTS = {
    "turn_id": TURN_ID,
    "session_id": "s",
    "session_state": "new",
    "cost_usd": 0.5,
    "duration_ms": 7,
}
ALL = frozenset({"tool", "thinking"})


def head(**more: Any) -> AnswerHead:
    return AnswerHead(TURN_ID, 1700000000, "claude-x", "new", **more)


def done(message: str = "Hello", **more: Any) -> Done:
    given = {"session_id": "s", "usage": USAGE, "cost_usd": 0.5, "duration_ms": 7, **more}
    return Done(success=given.pop("success", True), message=message, **given)


def frames(renderer: MessagesRenderer, *events: Event | list[str]) -> list[dict[str, Any]]:
    """Each frame's JSON, whose type its `event:` line says too."""
    written = renderer.begin()
    for number, event in enumerate(events, 1):
        if isinstance(event, list):
            written += renderer.tokens([json.dumps(each).encode() for each in event], number)
        else:
            written += renderer.event(event, number)
    found = []
    for block in written.decode().removesuffix("\n\n").split("\n\n"):
        kind, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert kind == f"event: {found[-1]['type']}"
    return found


def delta(index: int, **said: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": said}


def start(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def last(reason: str = "end_turn", **facts: Any) -> list[dict[str, Any]]:
    told = {"stop_reason": reason, "stop_sequence": None}
    end = {"type": "message_delta", "delta": told, "usage": USAGE, "cowork": {**FACTS, **facts}}
    return [end, {"type": "message_stop"}]


def test_a_stream_is_a_message_with_a_text() -> None:
    found = frames(MessagesRenderer(head()), ["Hel", "lo"], done())
    assert found == [
        {
            "type": "message_start",
            "message": {
                "id": f"msg_{HEX}",
                "type": "message",
                "role": "assistant",
                "model": "claude-x",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 0, "output_tokens": 0},
            },
        },
        {"type": "ping"},
        start(0, type="text", text=""),
        delta(0, type="text_delta", text="Hel"),
        delta(0, type="text_delta", text="lo"),
        stop(0),
        *last(),
    ]


def test_a_token_stays_the_bytes_that_it_came_as() -> None:
    escaped = rb'"\u00fc\ud83d\ude00 \"x\""'
    written = MessagesRenderer(head()).tokens([escaped, escaped], 1)
    assert written.count(b'"text":' + escaped + b"}}\n\n") == 2


def test_thinking_and_tools_are_blocks_where_they_were_asked_for() -> None:
    call = ToolUse("t1", "Bash", {"command": "ls"})
    events = (Thinking("hm"), ["a"], call, ToolResult("t1", "x", is_error=False), ["b"], done())
    found = frames(MessagesRenderer(head(events=ALL)), *events)
    assert found[2:-2] == [
        start(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="hm"),
        delta(0, type="signature_delta", signature=""),
        stop(0),
        start(1, type="text", text=""),
        delta(1, type="text_delta", text="a"),
        stop(1),
        start(2, type="server_tool_use", id="t1", name="Bash", input={}),
        delta(2, type="input_json_delta", partial_json='{"command":"ls"}'),
        stop(2),
        start(3, type="text", text=""),
        delta(3, type="text_delta", text="b"),
        stop(3),
    ]
    plain = frames(MessagesRenderer(head()), *events)
    assert [each["type"] for each in plain].count("content_block_start") == 1


def test_the_forced_tool_is_a_block_of_its_own() -> None:
    value = done("", structured_output={"a": 1})
    forced = head(forced_tool="save", is_structured=True)
    found = frames(MessagesRenderer(forced), ["I will"], value)
    assert found[2:] == [
        start(0, type="tool_use", id=f"toolu_{HEX}", name="save", input={}),
        delta(0, type="input_json_delta", partial_json='{"a":1}'),
        stop(0),
        *last("tool_use"),
    ]
    reply = messages_reply(forced, value)
    assert reply["content"] == [
        {"type": "tool_use", "id": f"toolu_{HEX}", "name": "save", "input": {"a": 1}}
    ]
    assert reply["stop_reason"] == "tool_use"


def test_a_value_is_one_text_at_the_end() -> None:
    value = done("", structured_output={"a": 1})
    found = frames(MessagesRenderer(head(is_structured=True)), ["I will"], value)
    assert found[3] == delta(0, type="text_delta", text='{"a":1}')
    assert len(found) == 7


def test_an_answer_without_a_word_has_a_block_all_the_same() -> None:
    found = frames(MessagesRenderer(head()), done(""))
    assert found[2:] == [start(0, type="text", text=""), stop(0), *last()]


def test_what_has_no_type_of_anthropics_is_not_told() -> None:
    events = frozenset({"status", "tool"})
    found = frames(MessagesRenderer(head(events=events)), Status("requesting"), Replace("x"))
    assert [each["type"] for each in found] == ["message_start", "ping"]


def test_what_was_replaced_is_told_at_the_end() -> None:
    found = frames(MessagesRenderer(head()), ["Wro"], Replace("R"), done("Right", replaced=True))
    assert found[-2:] == last(message="Right")


@pytest.mark.parametrize(
    ("code", "kind"),
    [("claude_overloaded", "overloaded_error"), ("turn_interrupted", "invalid_request_error")],
)
def test_a_failure_is_an_error_and_nothing_behind_it(code: str, kind: str) -> None:
    failed = Failed(code, "no")
    found = frames(MessagesRenderer(head()), ["half"], failed, done("half", success=False))
    assert found[-1] == {"type": "error", "error": {"type": kind, "message": "no"}}


def test_a_refusal_is_an_answer() -> None:
    refused = done("No", success=False, stop_reason="refusal")
    found = frames(MessagesRenderer(head()), ["No"], Failed("claude_failed", "x"), refused)
    assert found[-2:] == last("refusal")


def test_silence_is_a_ping() -> None:
    assert MessagesRenderer(head()).keep_alive == PING


def test_an_answer_is_a_message() -> None:
    assert messages_reply(head(), done()) == {
        "id": f"msg_{HEX}",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
        "cowork": FACTS,
    }
