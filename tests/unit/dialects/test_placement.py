"""Which session answers a client that sends its whole conversation with each question."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cowork.dialects.request import ConversationName, DialectRequest, HistoryMessage, NameSource
from cowork.errors import PreviousResponseNotFound
from cowork.model import Project
from tests.unit.dialects.remembering import RememberingServer
from tests.unit.turns.broken_parts import ended

CHAT = ConversationName("chat", NameSource.FRONT_END)
OURS = ConversationName("ours", NameSource.PROJECT)
AI_SDK = ConversationName("sdk", NameSource.CHAT)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RememberingServer]:
    made = RememberingServer(tmp_path)
    yield made
    made.close()


def asked(*said: str, name: ConversationName | None = None, **more: object) -> DialectRequest:
    """A client that has been told every second of these texts, and asks the last."""
    *before, question = said
    roles = ("user", "assistant")
    history = tuple(HistoryMessage(roles[at % 2], text) for at, text in enumerate(before))
    return replace(DialectRequest("chat", question, history, name=name), **more)


def test_without_a_history_and_a_name_a_session_begins(server: RememberingServer) -> None:
    one, other = (server.place("me", asked("hi")) for _ in range(2))
    assert one.state == other.state == "new"
    assert one.project.is_unnamed
    assert one.project != other.project


def test_behind_the_last_answer_the_session_goes_on(server: RememberingServer) -> None:
    first = server.answer(asked("hi"), says="  hello\n you ")
    place = server.place("me", asked(" hi", "hello you", "more"))
    assert (place.state, place.project) == ("continued", first.project)
    second = server.answer(asked("hi", "hello you", "more"))
    assert (second.session_id, second.session_state) == (first.session_id, "continued")
    assert server.said(second) == ["hi", "  hello\n you ", "more", "yes"]


@pytest.mark.parametrize("name", [None, CHAT, AI_SDK])
def test_behind_an_earlier_answer_it_forks(
    name: ConversationName | None, server: RememberingServer
) -> None:
    first = server.answer(asked("hi", name=name))
    second = server.answer(asked("hi", "yes", "more", name=name))
    fork = server.answer(asked("hi", "yes", "other", name=name), says="no")
    assert fork.session_state == "forked"
    assert fork.session_id != first.session_id
    assert server.said(fork) == ["hi", "yes", "other", "no"]
    assert server.said(second) == ["hi", "yes", "more", "yes"]
    if name is not None:  # which moves to the fork
        assert fork.project == first.project == Project("me", name.text)
    # Both go on: the one in its session, the other one in a fork where the name has moved.
    again = server.answer(asked("hi", "yes", "more", "yes", "and", name=name))
    assert server.said(again) == ["hi", "yes", "more", "yes", "and", "yes"]
    assert again.session_state == ("continued" if name is None else "forked")


def test_what_nobody_knows_is_told_to_a_new_session(server: RememberingServer) -> None:
    turn = server.answer(asked("hi", "hello", "and?", name=CHAT))
    assert turn.session_state == "rebuilt"
    assert turn.project == Project("me", "chat")
    assert server.said(turn) == ["hi", "hello", "and?", "yes"]
    onward = server.answer(asked("hi", "hello", "and?", "yes", "then", name=CHAT))
    assert (onward.session_state, onward.session_id) == ("continued", turn.session_id)


def test_a_project_of_ours_goes_on_without_a_history(server: RememberingServer) -> None:
    assert server.place("me", asked("hi", name=OURS)).state == "new"
    first = server.answer(asked("hi", name=OURS))
    assert server.place("me", asked("more", name=OURS)).state == "continued"
    second = server.answer(asked("more", name=OURS))
    assert second.session_id == first.session_id
    assert second.project == Project("me", "ours")


def test_a_front_ends_task_is_answered_beside_its_chat(server: RememberingServer) -> None:
    chat = server.answer(asked("hi", name=CHAT))
    title = server.answer(asked("### Task: a title", name=CHAT))
    assert title.project.is_unnamed
    assert server.said(title) == ["### Task: a title", "yes"]
    onward = server.answer(asked("hi", "yes", "more", name=CHAT))
    assert (onward.session_state, onward.session_id) == ("continued", chat.session_id)


def test_a_chat_of_the_ai_sdk_begins_anew_in_its_project(server: RememberingServer) -> None:
    first = server.answer(asked("hi", name=AI_SDK))
    edited = server.answer(asked("hello", name=AI_SDK))
    assert edited.project == first.project == Project("me", "sdk")
    assert edited.session_state == "new"
    assert server.said(edited) == ["hello", "yes"]
    former = server.answer(asked("hi", "yes", "more", name=AI_SDK))
    assert former.session_state == "forked"
    assert server.said(former) == ["hi", "yes", "more", "yes"]


def test_a_node_may_be_named_by_its_turn(server: RememberingServer) -> None:
    first = server.answer(asked("hi"))
    second = server.answer(asked("more", node=first.id))
    assert (second.session_state, second.session_id) == ("continued", first.session_id)
    fork = server.answer(asked("other", node=first.id))
    assert fork.session_state == "forked"
    assert server.said(fork) == ["hi", "yes", "other", "yes"]


def test_a_node_that_nobody_knows_is_refused_or_its_history_told(
    server: RememberingServer,
) -> None:
    with pytest.raises(PreviousResponseNotFound):
        server.place("me", asked("hi", node="a-turn"))
    assert server.place("me", asked("hi", "yes", "more", node="a-turn")).state == "rebuilt"


def test_nobody_goes_on_behind_anothers_node(server: RememberingServer) -> None:
    first = server.answer(asked("hi", scope="ann"))
    onward = asked("hi", "yes", "more", scope="ann")
    assert server.place("me", onward).state == "continued"
    for owner, request in (
        ("eve", onward),
        ("me", replace(onward, scope="eve")),
        ("me", replace(onward, scope=None)),
        ("me", replace(onward, name=CHAT)),
    ):
        place = server.place(owner, request)
        assert (place.state, place.project == first.project) == ("rebuilt", False)
    with pytest.raises(PreviousResponseNotFound):
        server.place("eve", asked("more", node=first.id))


def test_a_head_that_another_turn_has_taken_meanwhile_forks(server: RememberingServer) -> None:
    server.answer(asked("hi"))
    requests = asked("hi", "yes", "one"), asked("hi", "yes", "two")
    placed = [server.place("me", each) for each in requests]
    assert [each.state for each in placed] == ["continued", "continued"]
    turns = [ended(server.begin(*each)) for each in zip(requests, placed, strict=True)]
    assert [turn.session_state for turn in turns] == ["continued", "forked"]
    assert server.said(turns[0]) == ["hi", "yes", "one", "yes"]
    assert server.said(turns[1]) == ["hi", "yes", "two", "yes"]


def test_what_was_asked_natively_meanwhile_is_not_in_the_conversation(
    server: RememberingServer,
) -> None:
    first = server.answer(asked("hi", name=OURS))
    native = server.ask("aside", first.project)
    assert native is not None
    assert server.said(ended(native)) == ["hi", "yes", "aside", "yes"]
    onward = server.answer(asked("hi", "yes", "more", name=OURS))
    assert onward.session_state == "forked"
    assert server.said(onward) == ["hi", "yes", "more", "yes"]


def test_a_turn_that_failed_is_not_in_the_conversation(server: RememberingServer) -> None:
    server.answer(asked("hi"))
    server.cli.fails = True
    lost = server.answer(asked("hi", "yes", "more"), says="ye")
    assert lost.error is not None
    server.cli.fails = False
    again = server.answer(asked("hi", "yes", "more"))
    assert server.said(again) == ["hi", "yes", "more", "yes"]
    # Half an answer that the client may have kept.
    kept = server.answer(asked("hi", "yes", "more", "ye", "go on"))
    assert kept.session_state == "rebuilt"
    assert server.said(kept) == ["hi", "yes", "more", "ye", "go on", "yes"]


def test_a_deleted_project_is_begun_anew_and_told_what_was_said(
    server: RememberingServer,
) -> None:
    first = server.answer(asked("hi", name=CHAT))
    server.service.deletion.delete(first.project)
    place = server.place("me", asked("hi", "yes", "more", name=CHAT))
    assert place.state == "rebuilt"


def test_a_session_whose_transcript_is_lost_is_told_the_clients_history(
    server: RememberingServer,
) -> None:
    first = server.answer(asked("hi", name=CHAT))
    server.answer(asked("hi", "yes", "aside", name=CHAT))
    fork = server.answer(asked("hi", "yes", "more", name=CHAT))
    assert fork.session_id != first.session_id
    for transcript in server.folder.glob("projects/*/*.jsonl"):
        transcript.unlink()
    head = server.answer(asked("hi", "yes", "more", "yes", "on", name=CHAT))
    assert server.said(head) == ["hi", "yes", "more", "yes", "on", "yes"]
    for transcript in server.folder.glob("projects/*/*.jsonl"):
        transcript.unlink()
    cut = server.answer(asked("hi", "yes", "again", name=CHAT))
    assert server.said(cut) == ["hi", "yes", "again", "yes"]
