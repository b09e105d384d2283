"""Chat completions, frame by frame as `openai` and its kin read them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cowork.dialects.answer_head import AnswerHead
from cowork.dialects.chat.rendering import ChatRenderer
from cowork.dialects.chat.reply import chat_reply
from cowork.events import Done, Event, Failed, Replace, Status, Thinking, ToolResult, ToolUse

USAGE = {
    "input_tokens": 5,
    "cache_creation_input_tokens": 7,
    "cache_read_input_tokens": 11,
    "output_tokens": 3,
}
TOLD = {
    "prompt_tokens": 23,
    "completion_tokens": 3,
    "total_tokens": 26,
    "prompt_tokens_details": {"cached_tokens": 11},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
FACTS = {
    "turn_id": "t-1",
    "session_id": "s-1",
    "session_state": "new",
    "cost_usd": 0.5,
    "duration_ms": 12,
}
CHUNK = {"id": "chatcmpl-t-1", "object": "chat.completion.chunk", "created": 1700, "model": "m"}


def head(**more: Any) -> AnswerHead:
    return AnswerHead("t-1", 1700, "m", "new", **more)


def done(message: str = "Hi you", **more: Any) -> Done:
    facts = {"session_id": "s-1", "usage": USAGE, "cost_usd": 0.5, "duration_ms": 12, **more}
    return Done(**{"success": True, "message": message, **facts})


def rendered(renderer: ChatRenderer, *events: Event | list[str]) -> bytes:
    """All frames of these events, tokens in lists."""
    pieces = [renderer.begin()]
    for event in events:
        if isinstance(event, list):
            pieces.append(renderer.tokens([json.dumps(each).encode() for each in event], 1))
        else:
            pieces.append(renderer.event(event, 1))
    return b"".join(pieces)


def frames(renderer: ChatRenderer, *events: Event | list[str]) -> list[Any]:
    """The JSON of each frame; `[DONE]` as it is."""
    blocks = rendered(renderer, *events).decode().removesuffix("\n\n").split("\n\n")
    data = [block.removeprefix("data: ") for block in blocks]
    return [each if each == "[DONE]" else json.loads(each) for each in data]


def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        **CHUNK,
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        **more,
    }


ROLE = chunk({"role": "assistant", "content": ""})


def test_a_stream_is_the_role_the_tokens_the_reason_and_done() -> None:
    assert frames(ChatRenderer(head()), ["Hi ", "you"], done()) == [
        ROLE,
        chunk({"content": "Hi "}),
        chunk({"content": "you"}),
        chunk({}, "stop", cowork=FACTS),
        "[DONE]",
    ]


def test_a_token_stays_the_bytes_that_it_came_as() -> None:
    escaped = rb'"\u00fc\ud83d\ude00 \"x\""'
    assert b'"content":' + escaped + b"}" in ChatRenderer(head()).tokens([escaped], 1)


def test_who_asks_for_usage_gets_it_in_a_chunk_of_its_own() -> None:
    *_, last, usage, end = frames(ChatRenderer(head(wants_usage=True)), ["Hi"], done())
    assert last == chunk({}, "stop")
    assert usage == {**CHUNK, "choices": [], "usage": TOLD, "cowork": FACTS}
    assert end == "[DONE]"


def test_every_frame_is_one_line_of_data() -> None:
    events = (["a\nb\r\n\u2028"], ToolUse("1", "Bash", {"command": "a\nb"}), done())
    renderer = ChatRenderer(head(events=frozenset({"tool"})))
    for block in rendered(renderer, *events).removesuffix(b"\n\n").split(b"\n\n"):
        assert block.startswith(b"data: ")
        assert b"\n" not in block
        assert b"\r" not in block


def test_thinking_and_tools_are_told_where_they_were_asked_for() -> None:
    events = (
        Thinking("hm"),
        ToolUse("1", "Bash", {"command": "ls"}),
        ToolResult("1", "out", is_error=False),
        Status("requesting"),
        done(),
    )
    wants = ChatRenderer(head(events=frozenset({"tool", "thinking"})))
    _, thought, call, result, *rest = frames(wants, *events)
    assert thought == chunk({"reasoning_content": "hm"})
    assert call == {
        **CHUNK,
        "choices": [],
        "cowork": {"type": "tool_use", "id": "1", "name": "Bash", "input": {"command": "ls"}},
    }
    assert result["choices"] == []
    assert result["cowork"]["content"] == "out"
    assert len(rest) == 2
    assert len(frames(ChatRenderer(head()), *events)) == 3


def test_what_was_replaced_is_told_at_the_end() -> None:
    *_, last, _end = frames(
        ChatRenderer(head()), ["Hi"], Replace("Hello"), done("Hello", replaced=True)
    )
    assert last["cowork"] == {**FACTS, "message": "Hello"}


def test_a_forced_tools_call_is_the_answer() -> None:
    end = done('{"a":1}', structured_output={"a": 1}, replaced=True)
    renderer = ChatRenderer(head(forced_tool="save", is_structured=True))
    assert frames(renderer, ["I will save"], Replace('{"a":1}'), end) == [
        ROLE,
        chunk(
            {
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "call_t-1",
                        "type": "function",
                        "function": {"name": "save", "arguments": '{"a":1}'},
                    }
                ]
            }
        ),
        chunk({}, "tool_calls", cowork=FACTS),
        "[DONE]",
    ]


def test_an_answer_that_is_a_value_is_one_piece_of_text() -> None:
    end = done('{"a":1}', structured_output={"a": 1}, replaced=True)
    found = frames(ChatRenderer(head(is_structured=True)), ["I will"], Replace('{"a":1}'), end)
    assert found == [ROLE, chunk({"content": '{"a":1}'}), chunk({}, "stop", cowork=FACTS), "[DONE]"]


@pytest.mark.parametrize(
    ("code", "kind"),
    [("claude_failed", "server_error"), ("turn_interrupted", "conflict_error")],
)
def test_a_failure_in_the_stream_is_said_before_its_end(code: str, kind: str) -> None:
    end = done(success=False, session_id="s-1")
    assert frames(ChatRenderer(head()), ["Hi"], Failed(code, "it broke"), end)[2:] == [
        {"error": {"message": "it broke", "type": kind, "param": None, "code": code}},
        "[DONE]",
    ]


def test_a_refusal_is_an_answer_that_was_filtered() -> None:
    end = done(success=False, stop_reason="refusal")
    *_, last, _end = frames(ChatRenderer(head()), Failed("claude_api_error", "refused"), end)
    assert last == chunk({}, "content_filter", cowork=FACTS)


def test_silence_is_a_comment_without_a_blank_line() -> None:
    assert ChatRenderer.keep_alive == b": keep-alive\n"


def test_a_reply_has_all_that_strict_clients_look_for() -> None:
    assert chat_reply(head(), done()) == {
        "id": "chatcmpl-t-1",
        "object": "chat.completion",
        "created": 1700,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi you", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": TOLD,
        "cowork": FACTS,
    }


def test_a_reply_to_a_forced_tool_is_its_call() -> None:
    end = done('{"a":1}', structured_output={"a": 1})
    (choice,) = chat_reply(head(forced_tool="save", is_structured=True), end)["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {
            "id": "call_t-1",
            "type": "function",
            "function": {"name": "save", "arguments": '{"a":1}'},
        }
    ]


def test_the_usage_of_a_cli_that_tells_none_is_nothing() -> None:
    usage = chat_reply(head(), done(usage=None))["usage"]
    assert usage["total_tokens"] == 0
