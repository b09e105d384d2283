"""Digests of conversations, and what a question's continuation keeps."""

from __future__ import annotations

from dataclasses import asdict

from cowork.events import Done
from cowork.model import ConversationNode, Exchange, Project
from cowork.turns.continuation import Continuation, beginning, with_message


def said(*texts: str) -> str:
    key = beginning("ann", "chat")
    for place, text in enumerate(texts):
        key = with_message(key, "assistant" if place % 2 else "user", text)
    return key


def test_the_same_conversation_has_the_same_digest_however_its_texts_are_laid_out() -> None:
    assert said("a  b\n", " c") == said(" a b", "c\n\n")
    assert said("é") == said("e\u0301")


def test_another_conversation_has_another_digest() -> None:
    digests = [
        said("a", "b"),
        said("b", "a"),
        said("a"),
        said("ab"),
        said("a", "b", ""),
        with_message(beginning("bob", "chat"), "user", "a"),
        with_message(beginning("ann", "other"), "user", "a"),
        with_message(beginning("ann", "chat"), "assistant", "a"),
        with_message(beginning("ann", "chat"), "user", "a", ["AAAA"]),
        with_message(beginning("ann", "chat"), "user", "a", ["AAAB"]),
        with_message(beginning("ann", "chat"), "user", "a", ["AAAA", "AAAB"]),
    ]
    assert len(set(digests)) == len(digests)


def test_a_lone_surrogate_has_a_digest_too() -> None:
    assert said("\ud800") == said("\ud800")


def test_the_answer_is_known_in_each_form_in_which_it_may_come_back() -> None:
    continuation = Continuation("key")
    done = Done(success=True, message="Hello")
    assert continuation.answered_keys(done) == (with_message("key", "assistant", "Hello"),)
    value = Done(success=True, message="", structured_output={"b": 1, "a": 2})
    assert continuation.answered_keys(value) == (with_message("key", "assistant", '{"b":1,"a":2}'),)
    called = Continuation("key", tool="final")
    assert called.answered_keys(value) == (with_message("key", "assistant", 'final {"a":2,"b":1}'),)
    assert continuation.answered_keys(Done(success=False, message=" ")) == ()


def test_a_continuation_goes_to_another_worker_whole_and_into_the_record_in_part() -> None:
    node = ConversationNode(Project("ann", "p"), "k", "s", "/work", "t")
    whole = Continuation("key", behind=node, earlier=(Exchange("q", "a"),), tool="final")
    assert Continuation.of_json(asdict(whole)) == whole
    assert Continuation.of_json(whole.kept()) == Continuation("key", tool="final")
    assert Continuation.of_json(None) is None
