"""What clients of OpenAI's responses send."""

from __future__ import annotations

from typing import Any

import pytest

from cowork.dialects.request import ConversationName, ForcedTool, HistoryMessage, NameSource
from cowork.dialects.responses.reading import read_response
from cowork.errors import InvalidValue, PreviousResponseNotFound


def read(**more: Any) -> Any:
    return read_response({"input": "hi", **more})


def test_a_text_is_the_question() -> None:
    asked = read(model="gpt", instructions="Be brief.", stream=True)
    assert (asked.api, asked.question, asked.history) == ("responses", "hi", ())
    assert (asked.model, asked.cli_model, asked.system_prompt) == ("gpt", "gpt", "Be brief.")
    assert asked.is_streaming


def test_items_are_the_history_and_the_question() -> None:
    asked = read(
        instructions="A",
        input=[
            {"role": "developer", "content": "B"},
            {"role": "user", "content": "one"},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "two", "annotations": []}],
            },
            {"type": "reasoning", "id": "r", "summary": []},
            {"type": "function_call", "name": "f", "arguments": '{"a": 1}', "call_id": "c"},
            {"type": "function_call_output", "call_id": "c", "output": "three"},
            {"role": "user", "content": [{"type": "input_text", "text": "four"}]},
        ],
    )
    assert asked.system_prompt == "A\n\nB"
    assert asked.history == (
        HistoryMessage("user", "one"),
        HistoryMessage("assistant", "two"),
        HistoryMessage("assistant", 'f {"a":1}'),
        HistoryMessage("tool", "three"),
    )
    assert asked.question == "four"


@pytest.mark.parametrize("given", ["c1", {"id": "c1"}])
def test_a_conversation_is_a_project(given: Any) -> None:
    assert read(conversation=given).name == ConversationName("c1", NameSource.PROJECT)
    assert read(conversation=None).name is None


def test_the_previous_response_is_a_turn() -> None:
    assert read(previous_response_id="resp_abc").node == "abc"
    for other in ("abc", f"resp_{'a' * 60}"):
        with pytest.raises(PreviousResponseNotFound):
            read(previous_response_id=other)


def test_a_schema_and_a_forced_tool_are_the_answers() -> None:
    form = {"type": "json_schema", "name": "n", "strict": True, "schema": {"type": "object"}}
    asked = read(text={"format": form}, reasoning={"effort": "high"}, background=True)
    assert (asked.output_schema, asked.effort, asked.is_background) == (
        {"type": "object"},
        "high",
        True,
    )
    assert asked.echo["format"] == {"type": "json_schema", "name": "n"}
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    forced = read(tools=[tool], tool_choice={"type": "function", "name": "f"})
    assert forced.forced_tool == ForcedTool("f", {"type": "object"})
    assert forced.echo["tool"] == "f"


def test_what_the_answer_repeats_is_bounded() -> None:
    asked = read(instructions="x" * 9000, metadata={"a": "b"})
    assert asked.echo["instructions"] is None
    assert asked.echo["metadata"] == {"a": "b"}
    form = {"type": "x" * 9000, "name": "n" * 9000}
    assert read(text={"format": form}).echo["format"] == {"type": "text", "name": "n" * 64}
    with pytest.raises(InvalidValue) as wrong:
        read(metadata={"a": "x" * 9000})
    assert wrong.value.field == "metadata"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": " "}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "assistant", "content": "x"}]}, "input"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input"),
        ({"input": "hi", "conversation": 3}, "conversation"),
        ({"input": "hi", "previous_response_id": 3}, "previous_response_id"),
        ({"input": "hi", "text": {"format": "json"}}, "text.format"),
        ({"input": "hi", "background": "yes"}, "background"),
    ],
)
def test_what_cannot_be_read_says_where(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValue) as wrong:
        read_response(body)
    assert wrong.value.field == field
