"""What a client says was said before: its digest, and what of it a new session is told."""

from __future__ import annotations

import pytest

from cowork.dialects import history as module
from cowork.dialects.history import TOLD_LIMIT, told, with_history
from cowork.dialects.request import HistoryMessage
from cowork.model import Exchange
from cowork.turns.continuation import beginning, with_message

START = beginning(None, None)


def user(text: str) -> HistoryMessage:
    return HistoryMessage("user", text)


def assistant(text: str) -> HistoryMessage:
    return HistoryMessage("assistant", text)


def test_the_digest_is_of_each_message_behind_the_other() -> None:
    image = {"type": "image", "media_type": "image/png", "data": "AAAA"}
    messages = (HistoryMessage("user", "hi", (image,)), assistant("yes"))
    expected = with_message(with_message(START, "user", "hi", ["AAAA"]), "assistant", "yes")
    assert with_history(START, messages) == expected
    assert with_history(START, ()) == START


def test_a_long_one_has_the_same_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = (user("hi"), assistant("yes"))
    before = with_history(START, messages)
    monkeypatch.setattr(module, "_LONG_CHARACTERS", 1)
    assert with_history(START, messages) == before


def test_it_is_told_as_questions_and_answers() -> None:
    said = (user("a"), assistant("b"), user("c"), assistant("d"))
    assert told(said) == (Exchange("a", "b"), Exchange("c", "d"))
    assert told(()) == ()


def test_what_tools_gave_back_stands_with_the_answers() -> None:
    said = (user("a"), assistant("look {}"), HistoryMessage("tool", "12"), assistant("b"))
    assert told(said) == (Exchange("a", "look {}\n\n12\n\nb"),)


def test_what_has_no_question_or_no_answer_is_told_too() -> None:
    assert told((assistant("welcome"), user("a"))) == (Exchange("", "welcome"), Exchange("a", ""))
    assert told((user(""), assistant(""))) == ()


def test_the_newest_is_told_of_what_is_long() -> None:
    said = (user("old"), assistant("x" * 10), user("a"), assistant("yes"))
    assert told(said, limit=7) == (Exchange("", "xxx"), Exchange("a", "yes"))
    assert told(said, limit=2) == (Exchange("", "es"),)
    many = tuple(user(f"{number}" * 1000) for number in range(100))
    assert sum(len(each.question) for each in told(many)) == TOLD_LIMIT
    assert told(many)[-1].question == "99" * 1000
