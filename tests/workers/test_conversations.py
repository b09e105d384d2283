"""A client that sends its whole conversation is understood by whichever worker it comes to."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from tests.contract.dialects.chats import Chat, session_of, state_of
from tests.serving import Gunicorn
from tests.workers.places import Places

_numbers = count()


@pytest.fixture(params=["", "X-Conversation-ID", "X-Cowork-Project"])
def begin(request: pytest.FixtureRequest, places: Places) -> Callable[..., Chat]:
    """A chat that begins at home: without a name, or with one."""
    name = f"chat-{next(_numbers)}"

    def start() -> Chat:
        headers = {request.param: name} if request.param else {}
        # A person, so that no chat is like another test's.
        return Chat(places.home, places.folder / "home", headers, {"user": name})

    return start


def moved(chat: Chat, to: Gunicorn) -> Chat:
    return Chat(to, chat.home, chat.headers, chat.body, chat.messages)


def counted(chat: Chat, *texts: str) -> str:
    """What the CLI says that it was asked, and how its session came about."""
    reply = chat.say(f"[[count]] {texts[-1]}")
    said = chat.messages[-1]["content"]
    assert said == f"I see {len(texts)} questions: {' | '.join(texts)}"
    return state_of(reply)


def test_it_goes_on(begin: Callable[..., Chat], via: Gunicorn) -> None:
    chat = begin()
    first = chat.say("one")
    there = moved(chat, via)
    reply = there.say("two")
    assert (state_of(reply), session_of(reply)) == ("continued", session_of(first))
    assert counted(moved(there, chat.client), "one", "two", "three") == "continued"


def test_it_forks(begin: Callable[..., Chat], via: Gunicorn) -> None:
    chat = begin()
    chat.say("one")
    chat.say("two")
    there = moved(chat.back_to(1), via)
    assert counted(there, "one", "2") == "forked"
    assert counted(moved(there, chat.client), "one", "2", "3") == "continued"
    assert counted(moved(chat, via), "one", "two", "three") in ("continued", "forked")


def test_a_node_is_everybodys_at_once(begin: Callable[..., Chat], places: Places) -> None:
    chat = begin()
    chat.say("one")
    texts = ["one"]
    for number, server in enumerate([*places.servers.values()] * 2):
        chat = moved(chat, server)
        texts.append(str(number))
        assert counted(chat, *texts) == "continued"


def test_a_deleted_projects_conversation_is_told_again(places: Places, via: Gunicorn) -> None:
    name = f"chat-{next(_numbers)}"
    chat = Chat(places.home, places.folder / "home", {"X-Conversation-ID": name})
    chat.say("one")
    assert via.delete(f"/sessions/{name}").status_code == 200
    assert state_of(moved(chat, via).say("two")) == "rebuilt"
