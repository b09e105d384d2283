"""What clients of Anthropic's messages send."""

from __future__ import annotations

from typing import Any

import pytest

from cowork.dialects.messages.count_tokens import count_tokens
from cowork.dialects.messages.reading import read_messages
from cowork.dialects.request import ConversationName, ForcedTool, HistoryMessage, NameSource
from cowork.errors import InvalidValue

ASKED = [{"role": "user", "content": "hi"}]


def read(**more: Any) -> Any:
    return read_messages({"messages": ASKED, **more})


def test_a_conversation_is_its_history_and_its_question() -> None:
    image = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    asked = read_messages(
        {
            "model": "claude-x",
            "max_tokens": 64,
            "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "x"}}],
            "messages": [
                {"role": "user", "content": "one"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": ""},
                        {"type": "text", "text": "two"},
                        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "source": image},
                        {"type": "text", "text": "three"},
                    ],
                },
            ],
            "stream": True,
        }
    )
    assert asked.api == "messages"
    assert asked.question == "three"
    assert asked.history == (
        HistoryMessage("user", "one"),
        HistoryMessage("assistant", 'two\n\nf {"a":1}'),
    )
    assert asked.attachments == ({"type": "image", "media_type": "image/png", "data": "AAAA"},)
    assert asked.system_prompt == "Be brief."
    assert (asked.model, asked.cli_model) == ("claude-x", "claude-x")
    assert asked.is_streaming
    assert asked.ignored == ("max_tokens",)


@pytest.mark.parametrize(
    ("user", "name", "scope"),
    [
        ("user_ab_account__session_c0ffee", "c0ffee", "user_ab_account_"),
        ('{"device_id": "d", "session_id": "c0ffee"}', "c0ffee", "d"),
        ("ann", None, "ann"),
        ("{not json", None, "{not json"),
        ('{"session_id": 3}', None, '{"session_id": 3}'),
        (None, None, None),
        (3, None, None),
    ],
)
def test_the_user_names_a_session_only_where_claude_code_does(
    user: Any, name: str | None, scope: str | None
) -> None:
    asked = read(metadata={"user_id": user})
    expected = None if name is None else ConversationName(name, NameSource.FRONT_END)
    assert (asked.name, asked.scope) == (expected, scope)


@pytest.mark.parametrize("key", ["output_format", "output_config"])
def test_a_schema_is_the_answers(key: str) -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    asked = read(**{key: form if key == "output_format" else {"format": form, "effort": "high"}})
    assert asked.output_schema == {"type": "object"}
    assert asked.effort == (None if key == "output_format" else "high")


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "f"}])
def test_a_forced_tool_is_the_answers_schema(choice: dict[str, str]) -> None:
    schema = {"type": "object", "properties": {"a": {}}}
    asked = read(tools=[{"name": "f", "input_schema": schema}], tool_choice=choice)
    assert asked.forced_tool == ForcedTool("f", schema)
    assert asked.output_schema == schema
    assert asked.ignored == ()


def test_other_tools_are_ignored_or_refused() -> None:
    tools = [{"name": "f", "input_schema": {}}, {"type": "web_search_20250305", "name": "w"}]
    assert read(tools=tools, tool_choice={"type": "auto"}).ignored == ("tools", "tool_choice")
    with pytest.raises(InvalidValue):
        read_messages({"messages": ASKED, "tools": tools}, rejects_tools=True)


@pytest.mark.parametrize(("kind", "told"), [("enabled", True), ("adaptive", True), ("x", False)])
def test_thinking_is_told_where_it_is_asked_for(kind: str, told: bool) -> None:
    assert (read(thinking={"type": kind}).events == {"thinking"}) is told


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [*ASKED, {"role": "assistant", "content": "{"}]}, "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages"),
        ({"messages": ASKED, "stream": "yes"}, "stream"),
        ({"messages": ASKED, "output_format": "json"}, "output_format"),
        ({"messages": ASKED, "system": "x" * 100_001}, "messages"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image", "source": {"type": "url", "url": "u"}}],
                    }
                ]
            },
            "messages[0].content[0].source",
        ),
    ],
)
def test_what_cannot_be_read_says_where(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValue) as wrong:
        read_messages(body)
    assert wrong.value.field == field


def test_tokens_are_estimated_by_bytes_messages_and_images() -> None:
    image = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    body = {
        "system": "é" * 5,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a" * 60}]},
            {"role": "user", "content": [{"type": "image", "source": image}]},
        ],
    }
    assert count_tokens(body) == 20 + 2 * 4 + 1600
    with pytest.raises(InvalidValue):
        count_tokens({"messages": "hi"})
