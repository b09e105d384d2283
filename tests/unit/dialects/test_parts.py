"""Content parts of all dialects."""

from __future__ import annotations

from typing import Any

import pytest

from cowork.dialects.parts import Content, read_content
from cowork.errors import InvalidValue
from cowork.turns.continuation import call_text

PNG = "data:image/png;base64,AAAA"
IMAGE = {"type": "image", "media_type": "image/png", "data": "AAAA"}


@pytest.mark.parametrize("content", ["hi", ["hi"], [{"type": "input_text", "text": "hi"}]])
def test_a_text_is_one_however_it_is_written(content: object) -> None:
    assert read_content(content, "content") == Content("hi")


def test_texts_are_joined_by_blank_lines() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "output_text", "text": "b"}]
    assert read_content(parts, "content").text == "a\n\nb"


def test_nothing_is_an_empty_text() -> None:
    assert read_content(None, "content") == Content("")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
        {"type": "input_image", "image_url": PNG},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "file", "file": {"file_data": PNG, "filename": "a.png"}},
        {"type": "input_image", "image_url": "data:image/png;charset=x;base64,AAAA"},
    ],
)
def test_an_image_is_one_however_it_is_written(part: dict[str, Any]) -> None:
    assert read_content([part], "content") == Content("", (IMAGE,))


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": "a"}},
        {"type": "input_file", "file_data": "data:application/pdf;base64,AA", "filename": "a"},
        {
            "type": "document",
            "title": "a",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"},
        },
    ],
)
def test_a_document_is_one_however_it_is_written(part: dict[str, Any]) -> None:
    found = {"type": "document", "media_type": "application/pdf", "data": "AA", "name": "a"}
    assert read_content([part], "content").attachments == (found,)


def test_a_document_of_text_is_taken_as_one() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "hi"}
    found = read_content([{"type": "document", "source": source}], "content").attachments
    assert found == ({"type": "document", "media_type": "text/plain", "data": "aGk="},)


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "image_url", "image_url": {"url": "https://x/a.png"}}, "c[0].image_url"),
        ({"type": "image", "source": {"type": "url", "url": "https://x/a"}}, "c[0].source"),
        ({"type": "input_image", "file_id": "file-1"}, "c[0].image_url"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "c[0]"),
        ({"type": "image_url", "image_url": "data:image/bmp;base64,AA"}, "c[0].image_url"),
        ({"type": "text", "text": 3}, "c[0].text"),
        ({"text": "no type"}, "c[0]"),
        (3, "c[0]"),
    ],
)
def test_what_cannot_be_taken_says_where(part: object, param: str) -> None:
    with pytest.raises(InvalidValue) as wrong:
        read_content([part], "c")
    assert wrong.value.field == param


def test_a_content_of_another_type_is_refused() -> None:
    with pytest.raises(InvalidValue):
        read_content({"type": "text"}, "content")


def test_parts_that_say_nothing_to_us_are_passed_over() -> None:
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}]
    assert read_content(parts, "content") == Content("a")


def test_calls_and_results_of_tools_are_text() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [{"type": "tool_result", "content": deep}]
    parts = [
        {"type": "tool_use", "id": "t", "name": "ls", "input": {"b": 1, "a": 2}},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "f"}]},
        *deep,
    ]
    assert read_content(parts, "content").text == 'ls {"a":2,"b":1}\n\nf'


def test_a_call_is_the_same_text_whoever_wrote_its_json() -> None:
    assert call_text("f", '{ "b": 1,"a":2}') == call_text("f", {"a": 2, "b": 1})
    assert call_text("f", "not json") == "f not json"
