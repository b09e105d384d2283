"""Of which conversation a request is, whose, and what it wants, by its headers."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from cowork.dialects.request import ConversationName, DialectRequest, NameSource
from cowork.errors import InvalidValue
from cowork.web.dialects.caller import on_busy_of, with_headers

BODYS = ConversationName("of the body", NameSource.PROJECT)


def caller(headers: dict[str, str]) -> Any:
    return Request(EnvironBuilder(headers=headers).get_environ())


def read(headers: dict[str, str], **asked: Any) -> DialectRequest:
    return with_headers(DialectRequest("chat", "why?", **asked), caller(headers))


def front_ends(text: str) -> ConversationName:
    return ConversationName(text, NameSource.FRONT_END)


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({}, None),
        ({"X-Cowork-Project": "p"}, ConversationName("p", NameSource.PROJECT)),
        ({"X-Cowork-Project": quote("café/x")}, ConversationName("café/x", NameSource.PROJECT)),
        ({"X-Conversation-ID": "c"}, front_ends("c")),
        ({"X-OpenWebUI-Chat-Id": "c"}, front_ends("c")),
        ({"X-Claude-Code-Session-Id": "c"}, front_ends("c")),
        ({"session-id": "c"}, front_ends("c")),
        (
            {"session-id": "s", "X-Conversation-ID": "c", "X-Cowork-Project": "p"},
            ConversationName("p", NameSource.PROJECT),
        ),
        ({"session-id": "s", "X-OpenWebUI-Chat-Id": "c"}, front_ends("c")),
        # What could be no project's name is passed over.
        ({"X-Cowork-Project": "%0A", "X-Conversation-ID": "c"}, front_ends("c")),
        ({"X-Cowork-Project": " ", "X-Conversation-ID": "x" * 201}, None),
    ],
    ids=str,
)
def test_the_first_name_that_fits_counts(
    headers: dict[str, str], name: ConversationName | None
) -> None:
    assert read(headers).name == name
    assert read(headers, name=BODYS).name == (name or BODYS)


def test_a_name_of_the_body_that_could_be_no_projects_is_none() -> None:
    assert read({}, name=front_ends("a\nb")).name is None


def test_the_person_of_the_body_counts_before_the_headers() -> None:
    header = {"X-OpenWebUI-User-Id": "h"}
    assert read(header).scope == "h"
    assert read(header, scope="b").scope == "b"
    with pytest.raises(InvalidValue) as fault:
        read({}, scope="ü" * 513)
    assert fault.value.field == "user"


def test_events_are_those_of_the_header_and_of_the_body() -> None:
    asked = read({"X-Cowork-Events": "tool, thinking,"}, events=frozenset({"status"}))
    assert asked.events == {"tool", "thinking", "status"}
    with pytest.raises(InvalidValue):
        read({"X-Cowork-Events": "tools"})


@pytest.mark.parametrize("given", ["queue", "reject", "interrupt"])
def test_what_happens_while_it_is_busy(given: str) -> None:
    assert on_busy_of(caller({})) == "queue"
    assert on_busy_of(caller({"X-On-Busy": given})) == given


@pytest.mark.parametrize("given", ["steer", "Queue", ""])
def test_another_word_for_it_is_refused(given: str) -> None:
    with pytest.raises(InvalidValue) as fault:
        on_busy_of(caller({"X-On-Busy": given}))
    assert fault.value.field == "X-On-Busy"
