"""A conversation goes on over the end of its server, and what that cut short is not in it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.background import BackgroundCalls
from tests.contract.dialects.chats import Chat, session_of, state_of
from tests.fakes import Fakes
from tests.redis_server import RedisServer
from tests.serving import Gunicorn, Served, wait_for


@pytest.fixture(params=["sqlite", "redis"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    if request.param == "sqlite":
        return {"COWORK_STORE": f"sqlite://{tmp_path}/state/cowork.db"}
    redis: RedisServer = request.getfixturevalue("redis_server")
    return {"COWORK_STORE": redis.url}


@pytest.mark.parametrize("headers", [{}, {"X-Conversation-ID": "c"}], ids=["unnamed", "named"])
def test_it_goes_on_after_a_restart(
    serve: Callable[..., Served], stored: dict[str, str], home: Path, headers: dict[str, str]
) -> None:
    served = serve(**stored)
    chat = Chat(served, home, headers)
    chat.say("one")
    first = chat.say("two")
    served.close()
    again = serve(**stored)
    chat = Chat(again, home, headers, messages=chat.messages)
    reply = chat.say("three")
    assert (state_of(reply), session_of(reply)) == ("continued", session_of(first))
    assert chat.sent(reply) == chat.texts()
    edited = chat.back_to(1)
    reply = edited.say("2")
    assert state_of(reply) == "forked"
    assert edited.sent(reply) == edited.texts()
    assert [*again.get("/sessions").json()["sessions"]] == [*headers.values()]


def test_a_question_that_the_worker_died_with_is_not_in_it(
    gunicorn: Callable[..., Gunicorn],
    stored: dict[str, str],
    home: Path,
    fakes: Fakes,
    background: BackgroundCalls,
) -> None:
    server = gunicorn(**stored, **fakes.settings())
    chat = Chat(server, home)
    chat.say("one")
    lost = background(chat.ask, "[[stall]] two")
    fakes.wait_asked(2)
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(requests.ConnectionError):
        lost.result()
    wait_for(lambda: worker not in server.workers() and server.workers())
    server.wait_live()
    reply = chat.say("three")
    assert state_of(reply) == "forked"
    assert chat.sent(reply) == chat.texts()
