"""Other APIs' JavaScript clients: OpenAI's, Anthropic's, and the AI SDK's chats."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.node import node
from tests.serving import Gunicorn

WORDS = "w1 w2 w3"


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What each scene has come to; played once."""
    return {}


@pytest.fixture
def played(found: dict[str, Any], gunicorn: Callable[..., Gunicorn]) -> dict[str, Any]:
    if not found:
        found |= json.loads(node("other_apis.mjs", gunicorn().url))
    return found


@pytest.mark.parametrize("client", ["openai", "anthropic"])
@pytest.mark.parametrize("scene", ["text", "stream"])
def test_an_answer_is_whole(played: dict[str, Any], client: str, scene: str) -> None:
    assert played[f"{client} {scene}"] == WORDS


def test_a_response_is_whole(played: dict[str, Any]) -> None:
    assert played["openai response"] == WORDS


def test_an_error_has_its_status(played: dict[str, Any]) -> None:
    assert (played["openai error"], played["anthropic error"]) == (503, 529)


def test_a_chat_goes_on_and_forks_where_it_was_edited(played: dict[str, Any]) -> None:
    one, two, edited = played["ai chat"]
    assert one.startswith("I see 1 question")
    assert two.startswith("I see 2 questions")
    assert edited.startswith("I see 2 questions")


def test_tools_are_parts_of_the_message(played: dict[str, Any]) -> None:
    kinds = played["ai tools"]
    assert "dynamic-tool" in kinds
    assert kinds[-1] == "text"


def test_a_chat_is_resumed_as_the_same_message(played: dict[str, Any]) -> None:
    assert played["ai resumed"] == [True, True]
    assert played["ai idle"] is None


def test_a_failure_is_its_sentence(played: dict[str, Any]) -> None:
    assert isinstance(played["ai error"], str)
    assert played["ai error"]
    assert "{" not in played["ai error"]
