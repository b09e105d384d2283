"""T32: nobody reaches another's session by guessing what was said in it, where, or under what name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cowork.dialects.placement import Placements
from cowork.dialects.request import DialectRequest, HistoryMessage
from cowork.errors import PreviousResponseNotFound
from cowork.stores.memory import nodes
from tests.contract.dialects.chats import Chat, session_of, state_of
from tests.fakes import Fakes
from tests.serving import Client, Served

MINE, YOURS = "m" * 40, "y" * 40
SECRET = "[[say I know it]] the word is okapi"


@pytest.fixture
def served(serve: Callable[..., Served], fakes: Fakes) -> Served:
    return serve(COWORK_API_KEYS=f"me={MINE},you={YOURS}", **fakes.settings())


@pytest.fixture
def me(served: Served, another: Callable[..., Client], home: Path) -> Chat:
    return Chat(another(served, MINE), home)


@pytest.fixture
def you(served: Served, another: Callable[..., Client], home: Path) -> Chat:
    return Chat(another(served, YOURS), home)


@pytest.mark.parametrize("headers", [{}, {"X-Conversation-ID": "c"}, {"X-Cowork-Project": "c"}])
def test_t32_another_key_that_knows_every_word_gets_a_session_of_its_own(
    me: Chat, you: Chat, headers: dict[str, str]
) -> None:
    me.headers = you.headers = headers
    mine = me.say(SECRET)
    you.messages = [*me.messages]
    yours = you.say("[[count]] what is it?")
    assert (state_of(yours), session_of(yours) == session_of(mine)) == ("rebuilt", False)
    assert you.messages[-1]["content"] == "I see 1 questions: what is it?"
    me_again = me.say("[[count]] go on")
    assert (state_of(me_again), session_of(me_again)) == ("continued", session_of(mine))
    assert me.messages[-1]["content"] == f"I see 2 questions: {SECRET.partition(']] ')[2]} | go on"


@pytest.mark.parametrize(
    ("mine", "guess"),
    [
        ({"user": "ann"}, {"user": "bob"}),
        ({"user": "ann"}, {}),
        ({"user": "ann|"}, {"user": "ann"}),
        ({"user": {"id": "ann"}}, {"user": {"id": "ann "}}),
        ({"safety_identifier": "ann"}, {"user": "Ann"}),
    ],
    ids=str,
)
def test_t32_another_person_behind_the_same_key_gets_one_too(
    me: Chat,
    served: Served,
    another: Callable[..., Client],
    mine: dict[str, Any],
    guess: dict[str, Any],
) -> None:
    me.body = mine
    other = Chat(another(served, MINE), me.home, body=guess)
    first = me.say(SECRET)
    other.messages = [*me.messages]
    reply = other.say("[[count]] what is it?")
    assert (state_of(reply), session_of(reply) == session_of(first)) == ("rebuilt", False)
    assert other.messages[-1]["content"] == "I see 1 questions: what is it?"


def test_t32_a_person_and_a_name_do_not_run_into_each_other(
    me: Chat, served: Served, another: Callable[..., Client]
) -> None:
    me.body, me.headers = {"user": "ann|chat"}, {}
    first = me.say(SECRET)
    for user, name in (("ann", "chat"), ("ann|", "chat"), ("", "ann|chat")):
        headers = {"X-Conversation-ID": name}
        other = Chat(another(served, MINE), me.home, headers, {"user": user}, [*me.messages])
        reply = other.ask("[[count]] what is it?")
        assert (state_of(reply), session_of(reply) == session_of(first)) == ("rebuilt", False)


def test_t32_no_name_reaches_a_conversation_without_one(
    me: Chat, you: Chat, served: Served
) -> None:
    first = me.say(SECRET)
    turn = served.services.turn_service.registry.get("me", first.headers["X-Turn-ID"])
    name = turn.project.name
    assert turn.project.is_unnamed
    for client in (me.client, you.client):
        for path in ("", "/messages", "/turns"):
            assert client.get(f"/sessions/{quote(name)}{path}").status_code in (404, 422)
        assert client.delete(f"/sessions/{quote(name)}").status_code in (404, 422)
        for action, body in (
            ("interrupt", None),
            ("warm", {}),
            ("fork", {"to": "mine"}),
            ("rewind", {"to_turn": turn.id}),
        ):
            reply = client.post(f"/sessions/{quote(name)}/{action}", body)
            assert reply.status_code in (404, 422), (action, reply.text)
        assert client.ask("[[count]]", name).status_code == 422
    for header in ("X-Cowork-Project", "X-Conversation-ID"):
        other = Chat(me.client, me.home, {header: quote(name)})
        assert session_of(other.ask("[[count]] hi")) != session_of(first)
    assert served.services.store.session(turn.project) is not None
    assert state_of(me.say("go on")) == "continued"


def test_t32_a_turns_id_is_a_node_of_its_owners_alone(me: Chat, served: Served) -> None:
    turn = me.say(SECRET).headers["X-Turn-ID"]
    placements = Placements(served.services.store)
    asked = DialectRequest("responses", "go on", node=turn)
    assert placements.place("me", asked).state == "continued"
    for owner in ("you", "", "admin"):
        with pytest.raises(PreviousResponseNotFound):
            placements.place(owner, asked)
    history = (HistoryMessage("user", SECRET), HistoryMessage("assistant", "I know it"))
    told = DialectRequest("ai_sdk", "go on", history, node=turn)
    assert placements.place("you", told).state == "rebuilt"


def test_t32_one_key_does_not_crowd_out_what_another_goes_on_with(
    me: Chat, you: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "NODES_OF_OWNER", 4)
    monkeypatch.setattr(nodes, "NODES_LIMIT", 5)
    me.say(SECRET)
    for number in range(8):
        you.back_to(0).say(f"flood {number}")
    assert state_of(me.say("go on")) == "continued"
