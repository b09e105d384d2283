"""What a chat completion's body asks."""

from __future__ import annotations

from typing import Any

import pytest

from cowork.dialects.chat.reading import read_chat
from cowork.dialects.request import DialectRequest, ForcedTool, HistoryMessage
from cowork.errors import InvalidValue

USER = {"role": "user", "content": "Why?"}
SAVE = {"type": "function", "function": {"name": "save", "parameters": {"type": "object", "x": 1}}}
LOAD = {"type": "function", "function": {"name": "load"}}


def read(*messages: Any, **more: Any) -> DialectRequest:
    return read_chat({"messages": list(messages) or [USER], **more})


def test_the_last_run_of_user_messages_is_the_question() -> None:
    asked = read(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One"},
        {"role": "user", "content": "Two"},
        {"role": "assistant", "content": "Both."},
        {"role": "user", "content": "And"},
        {"role": "developer", "content": [{"type": "text", "text": "In German."}]},
        {"role": "user", "content": [{"type": "text", "text": "now?"}]},
    )
    assert asked.question == "And\n\nnow?"
    assert asked.system_prompt == "Be brief.\n\nIn German."
    assert asked.history == (
        HistoryMessage("user", "One\n\nTwo"),
        HistoryMessage("assistant", "Both."),
    )


def test_calls_of_tools_and_what_they_gave_back_are_text_of_the_history() -> None:
    call = {
        "id": "1",
        "type": "function",
        "function": {"name": "add", "arguments": '{"b":2,"a":1}'},
    }
    asked = read(
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "3"},
        {"role": "assistant", "content": "3."},
        USER,
    )
    assert [(each.role, each.text) for each in asked.history] == [
        ("user", "Why?"),
        ("assistant", 'add {"a":1,"b":2}'),
        ("tool", "3"),
        ("assistant", "3."),
    ]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "  "}]}, "messages"),
        ({"messages": [{"role": "system", "content": "hi"}]}, "messages"),
        ({"messages": [USER, {"role": "assistant", "content": "Well"}]}, "messages"),
        ({"messages": [USER, {"role": "tool", "content": "3"}]}, "messages"),
        ({"messages": [{"role": "system", "content": "x" * 100_001}, USER]}, "messages"),
        ({"messages": [USER], "n": 2}, "n"),
        ({"messages": [USER], "n": True}, "n"),
        ({"messages": [USER], "stream": "yes"}, "stream"),
        ({"messages": [USER], "stream_options": []}, "stream_options"),
        (
            {"messages": [USER], "stream_options": {"include_usage": 1}},
            "stream_options.include_usage",
        ),
        ({"messages": [USER], "model": 4}, "model"),
        ({"messages": [USER], "tools": {}}, "tools"),
        ({"messages": [USER], "tools": [1], "tool_choice": "required"}, "tools[0]"),
        ({"messages": [USER], "tool_choice": 1}, "tool_choice"),
        (
            {"messages": [USER], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "tool_choice",
        ),
        ({"messages": [USER], "response_format": "json"}, "response_format"),
        (
            {
                "messages": [USER],
                "response_format": {"type": "json_schema", "json_schema": {"schema": 1}},
            },
            "response_format",
        ),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidValue) as fault:
        read_chat(body)
    assert fault.value.field == param


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "save"}}, {"type": "any"}]
)
def test_the_one_tool_that_is_forced_is_the_shape_of_the_answer(choice: Any) -> None:
    asked = read(tools=[SAVE], tool_choice=choice)
    assert asked.forced_tool == ForcedTool("save", {"type": "object", "x": 1})
    assert asked.output_schema == {"type": "object", "x": 1}
    assert asked.ignored == ()


@pytest.mark.parametrize("choice", ["required", "auto", None])
def test_tools_that_are_not_forced_are_ignored(choice: Any) -> None:
    asked = read(tools=[SAVE, LOAD], tool_choice=choice)
    assert asked.forced_tool is None
    assert asked.ignored[0] == "tools"


def test_tools_are_refused_where_the_operator_says_so() -> None:
    with pytest.raises(InvalidValue, match="COWORK_COMPAT_TOOLS"):
        read_chat({"messages": [USER], "tools": [LOAD]}, rejects_tools=True)
    forced = {"messages": [USER], "tools": [SAVE], "tool_choice": "required"}
    assert read_chat(forced, rejects_tools=True).forced_tool is not None


def test_what_would_have_changed_the_answer_is_named() -> None:
    asked = read(temperature=0, top_p=None, logprobs=False, max_tokens=5, store=True, unheard=1)
    assert asked.ignored == ("temperature", "max_tokens")


@pytest.mark.parametrize(
    ("wanted", "schema"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"schema": {"x": 1}, "name": "n"}}, {"x": 1}),
        ({"type": "json_schema", "json_schema": {"name": "n"}}, {"type": "object"}),
    ],
)
def test_the_format_of_the_answer_is_its_schema(
    wanted: dict[str, Any], schema: dict[str, Any] | None
) -> None:
    assert read(response_format=wanted).output_schema == schema


@pytest.mark.parametrize(
    ("user", "scope"),
    [("u1", "u1"), ({"id": "u1", "name": "Ann"}, "u1"), ({"name": "Ann"}, "s1"), (None, "s1")],
)
def test_the_person_is_the_user(user: Any, scope: str) -> None:
    assert read(user=user, safety_identifier="s1").scope == scope


@pytest.mark.parametrize(
    ("model", "told"),
    [(None, None), ("cowork", None), ("default", None), ("opus", "opus"), ("claude-x", "claude-x")],
)
def test_a_model_is_told_to_the_cli_unless_it_is_its_own(model: Any, told: Any) -> None:
    asked = read(model=model)
    assert (asked.model, asked.cli_model) == (model, told)


@pytest.mark.parametrize(("given", "told"), [("high", "high"), ("minimal", None), (3, None)])
def test_an_effort_is_followed_where_the_cli_has_it(given: Any, told: Any) -> None:
    assert read(reasoning_effort=given).effort == told
