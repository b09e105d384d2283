"""The digest of a conversation is of what was said, however that is laid out, and of nothing else."""

from __future__ import annotations

import time
import unicodedata
from dataclasses import asdict

from hypothesis import example, given
from hypothesis import strategies as st

from cowork.events import Done
from cowork.model import ConversationNode, Exchange, Project
from cowork.turns.continuation import Continuation, beginning, call_text, with_message

START = beginning(None, None)
BLANKS = st.text(" \t\n\r\u00a0\u2003", min_size=1, max_size=3)
LONG = "word " * 30_000


def keys(tool: str = "", **done: object) -> tuple[str, ...]:
    said = Done(success=True, **{"message": "", **done})
    return Continuation(START, tool=tool).answered_keys(said, "")


def answer(text: str) -> str:
    return with_message(START, "assistant", text)


@given(st.lists(st.text(max_size=8), max_size=8), st.lists(BLANKS, min_size=9, max_size=9))
@example(["e\u0301", "\u00e9"], [" "] * 9)
@example(["x" * 70_000, "y" * 70_000], [" " * 70_000] * 9)
@example(["a\u0301" * 40_000, "\u0301"], ["\n"] * 9)
def test_white_space_and_forms_of_unicode_do_not_count(words: list[str], blanks: list[str]) -> None:
    text = blanks[-1].join(words)
    other = "".join(word + blank for word, blank in zip(words, blanks, strict=False))
    other = unicodedata.normalize("NFD", blanks[0] + other)
    plain = " ".join(" ".join(words).split())
    assert answer(text) == answer(other) == answer(plain)


def test_everything_else_counts() -> None:
    said = [
        START,
        beginning("a", "b"),
        beginning("a|b", None),
        beginning(None, "a|b"),
        beginning("ab", ""),
        answer("a"),
        answer("A"),
        answer("a b"),
        answer("ab"),
        with_message(START, "user", "a"),
        with_message(answer("a"), "assistant", "a"),
        with_message(START, "user", "a", ["AAAA"]),
        with_message(START, "user", "a", ["AAAA", "BBBB"]),
        with_message(START, "user", "a", ["BBBB", "AAAA"]),
        with_message(START, "user", "a", ["AAAABBBB"]),
        answer(LONG),
        answer(LONG + "word"),
    ]
    assert len(set(said)) == len(said)
    assert beginning(None, "a") == beginning("", "a")


def test_half_a_character_is_no_fault() -> None:
    assert answer("\ud800") == answer(" \ud800 ")


def test_an_answer_is_known_in_each_form_in_which_it_is_sent_back() -> None:
    assert keys(message="hello") == (answer("hello"),)
    value = {"b": 1, "a": [2]}
    forms = keys(message='{"b": 1, "a": [2]}', structured_output=value)
    assert forms == (answer('{"b": 1, "a": [2]}'), answer('{"b":1,"a":[2]}'))
    forced = keys("pick", message='{"b": 1, "a": [2]}', structured_output=value)
    assert forced == (answer(call_text("pick", '{"a": [2], "b": 1}')),)
    assert keys(message=" ") == ()


def test_an_answer_that_was_replaced_is_known_as_it_was_streamed() -> None:
    said = Done(success=True, message="right", replaced=True)
    continuation = Continuation(START)
    assert continuation.answered_keys(said, "wro right") == (answer("right"), answer("wro right"))


def test_a_continuation_goes_to_another_worker_whole_and_into_the_record_in_part() -> None:
    node = ConversationNode(Project("ann", "p"), "k", "s", "/work", "t")
    whole = Continuation("key", behind=node, earlier=(Exchange("q", "a"),), tool="final")
    assert Continuation.of_json(asdict(whole)) == whole
    assert Continuation.of_json(whole.kept()) == Continuation("key", tool="final")
    assert Continuation.of_json(None) is None


def test_a_long_history_is_cheap() -> None:
    # Fifty answers of two thousand words: less than a hundredth of a second of the CPU each.
    text = "some word of it\n" * 500
    begun = time.thread_time()
    key = START
    for _ in range(50):
        key = with_message(with_message(key, "user", "why?"), "assistant", text)
    assert time.thread_time() - begun < 0.5
