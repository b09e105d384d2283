"""What `useChat` sends, and what it is given back of a session."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from cowork.claude.conversation import ConversationMessage
from cowork.dialects.ai_sdk.messages import ui_messages
from cowork.dialects.ai_sdk.reading import read_chat
from cowork.dialects.request import ConversationName, HistoryMessage, NameSource
from cowork.errors import InvalidValue

PNG = "data:image/png;base64,AAAA"


def message(role: str, *parts: Any, name: str = "m") -> dict[str, Any]:
    told = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return {"id": name, "role": role, "parts": told}


def test_the_last_run_of_user_messages_is_the_question() -> None:
    body = {
        "id": "chat-1",
        "trigger": "submit-message",
        "messages": [
            message("system", "Be brief."),
            message("user", "one", name="u1"),
            message("assistant", {"type": "step-start"}, "two", name="turn-1"),
            message("user", "three", name="u2"),
            message("user", "four", {"type": "file", "mediaType": "image/png", "url": PNG}),
        ],
    }
    asked = read_chat(body)
    assert asked.question == "three\n\nfour"
    assert asked.history == (
        HistoryMessage("user", "one"),
        HistoryMessage("assistant", "two", node="turn-1"),
    )
    assert asked.node == "turn-1"
    assert asked.name == ConversationName("chat-1", NameSource.CHAT)
    assert asked.system_prompt == "Be brief."
    assert asked.attachments == ({"type": "image", "media_type": "image/png", "data": "AAAA"},)
    assert asked.is_streaming
    assert asked.events == {"tool", "thinking"}


def test_one_message_alone_goes_on_with_its_session() -> None:
    asked = read_chat({"id": "chat-1", "message": message("user", "hi")})
    assert asked.name == ConversationName("chat-1", NameSource.PROJECT)
    assert (asked.question, asked.history, asked.node) == ("hi", (), None)


def test_what_the_transport_sends_besides_is_taken() -> None:
    body = {"id": "c", "message": message("user", "hi"), "events": [], "model": "haiku"}
    asked = read_chat({**body, "system": "Be brief.", "permission_mode": "plan", "other": 1})
    assert asked.events == frozenset()
    assert (asked.model, asked.system_prompt) == ("haiku", "Be brief.")
    assert asked.permission_mode == "plan"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "message"),
        ({"messages": "hi"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [message("assistant", "hi")]}, "messages"),
        ({"messages": [message("user", "  ")]}, "messages"),
        ({"messages": [message("tool", "hi")]}, "messages[0]"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0].parts"),
        ({"messages": [message("user", {"text": "hi"})]}, "messages[0].parts[0]"),
        ({"messages": [message("user", {"type": "text"})]}, "messages[0].parts[0].text"),
        (
            {"messages": [message("user", {"type": "file", "mediaType": "video/mp4"})]},
            "messages[0].parts[0].mediaType",
        ),
        (
            {
                "messages": [
                    message("user", {"type": "file", "mediaType": "image/png", "url": "https://x"})
                ]
            },
            "messages[0].parts[0].url",
        ),
        ({"message": message("user", "hi"), "trigger": "regenerate-message"}, "messages"),
        ({"message": message("user", "hi"), "id": 3}, "id"),
        ({"message": message("user", "hi"), "events": ["tokens"]}, "events"),
        ({"message": message("user", "hi"), "events": "tool"}, "events"),
    ],
)
def test_what_cannot_be_read_says_where(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValue) as wrong:
        read_chat(body)
    assert wrong.value.field == field


def said(role: Literal["user", "assistant"], name: str, *parts: Any) -> ConversationMessage:
    return ConversationMessage(name, "turn-1", role, datetime.now(UTC), parts)


def test_what_a_turn_said_is_one_message_with_its_id() -> None:
    call = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "ls"}}
    result = {"type": "tool_result", "id": "t", "content": "a.txt", "is_error": False}
    found = ui_messages(
        [
            said("user", "turn-1", {"type": "text", "text": "Look."}),
            said("assistant", "msg-1", {"type": "thinking", "text": "Hm"}, call, result),
            said("assistant", "msg-2", {"type": "text", "text": "There is a.txt."}),
        ]
    )
    tool = {
        "type": "dynamic-tool",
        "toolCallId": "t",
        "toolName": "Bash",
        "state": "output-available",
        "input": {"command": "ls"},
        "output": "a.txt",
        "providerExecuted": True,
    }
    text = {"type": "text", "text": "There is a.txt."}
    assert found == [
        {"id": "user-turn-1", "role": "user", "parts": [{"type": "text", "text": "Look."}]},
        {
            "id": "turn-1",
            "role": "assistant",
            "parts": [{"type": "reasoning", "text": "Hm"}, tool, text],
        },
    ]


def test_a_tool_that_failed_and_one_without_a_result_say_so() -> None:
    failed = [
        {"type": "tool_use", "id": "t", "name": "Bash", "input": {}},
        {"type": "tool_result", "id": "t", "content": "no", "is_error": True},
        {"type": "tool_use", "id": "u", "name": "Bash", "input": {}},
    ]
    parts = ui_messages([said("assistant", "msg", *failed)])[0]["parts"]
    assert [each["state"] for each in parts] == ["output-error", "input-available"]
    assert parts[0]["errorText"] == "no"
