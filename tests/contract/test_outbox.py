"""What waits for the Chat API, what it refused for good, and a token that is taken no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.replies import is_moment, problem
from tests.serving import Client, Served, wait_for
from tests.upstream import ADD_MESSAGE, CONSUME_REPLY, Upstream, fails, ok

KEY, OTHER = "k" * 32 + "-alice", "k" * 32 + "-robot"
KEYS = f"alice={KEY},robot={OTHER}"
Another = Callable[..., Client]
Connect = Callable[..., Served]
NAMES = {"auth_session_id": "session-1", "poll_token": "poll-token-123"}
REFRESH = "/auth/browser/refresh"


def _texts(upstream: Upstream, *tokens: str | None) -> list[str]:
    """The texts that came with one of `tokens`."""
    wanted = {token and f"Bearer {token}" for token in tokens}
    return [
        seen.json["message"]
        for seen in upstream.at(ADD_MESSAGE)
        if seen.headers.get("authorization") in wanted
    ]


def test_without_keys_nobody_sees_the_outbox(connect: Connect) -> None:
    served = connect()
    for reply in (served.get("/outbox"), served.post("/outbox/retry")):
        assert "COWORK_API_KEYS" in problem(reply, 403, "forbidden")["error"]


def test_refused_messages_are_dead_letters_of_their_owner(
    connect: Connect, upstream: Upstream, another: Another
) -> None:
    served = connect(COWORK_API_KEYS=KEYS)
    alice, robot = another(served, KEY), another(served, OTHER)
    nothing = {"pending": 0, "oldest_age_s": None, "dead": 0, "dropped": 0, "dead_letters": []}
    assert alice.get("/outbox").json() == nothing
    upstream.on(ADD_MESSAGE, fails(422))
    turn_id = alice.ask("secret of alice").json()["turn_id"]
    robot.ask("hi")
    wait_for(lambda: alice.get("/health").json()["chat_api"]["dead"] == 4)
    found = alice.get("/outbox").json()
    letters = found["dead_letters"]
    assert found == {**nothing, "dead": 2, "dead_letters": letters}
    assert [letter["id"] for letter in letters] == [f"{turn_id}-question", f"{turn_id}-answer"]
    for letter, kind in zip(letters, ("@xo", "agent"), strict=True):
        assert letter["project_id"] == "p"
        assert (letter["type"], letter["status"]) == (kind, None)
        assert "422" in letter["why"]
        assert is_moment(letter["created_at"])
        assert is_moment(letter["died_at"])
        assert "secret" not in str(letter)
    upstream.on(ADD_MESSAGE, ok({"success": True}))
    assert alice.post("/outbox/retry").json() == {"success": True, "retried": 2}
    wait_for(lambda: len(upstream.taken) == 2)
    texts = [seen.json["message"] for seen in upstream.taken]
    assert texts == ["secret of alice", "You said: secret of alice"]
    wait_for(lambda: alice.get("/outbox").json() == nothing)
    assert robot.get("/outbox").json()["dead"] == 2
    assert alice.post("/outbox/retry").json() == {"success": True, "retried": 0}


def test_messages_wait_for_a_login_and_health_says_so(connect: Connect, upstream: Upstream) -> None:
    served = connect()
    upstream.on(ADD_MESSAGE, fails(401))
    assert served.ask("hi").status_code == 200
    wait_for(lambda: served.get("/health").json()["chat_api"]["wants_login"])
    assert served.get("/health").json()["chat_api"]["pending"] == 2
    upstream.on(ADD_MESSAGE, ok({"success": True}))
    assert served.post("/xo-auth/consume", NAMES).status_code == 200
    wait_for(lambda: len(upstream.messages) == 2)
    wait_for(lambda: served.get("/health").json()["chat_api"]["wants_login"] is False)
    assert served.get("/health").json()["chat_api"]["pending"] == 0


def test_a_token_that_is_refused_is_refreshed_where_there_is_a_way(
    connect: Connect, upstream: Upstream
) -> None:
    served = connect(COWORK_XO_REFRESH_PATH=REFRESH)
    served.post("/xo-auth/consume", NAMES)
    upstream.on(REFRESH, ok({"access_token": "a-newer-token-0001", "expires_in": 3600}))
    upstream.then(fails(401))
    served.ask("hi")
    wait_for(lambda: len(upstream.messages) == 2)
    (asked,) = upstream.at(REFRESH)
    assert asked.method == "POST"
    assert asked.json == {"refresh_token": CONSUME_REPLY["refresh_token"]}
    assert _texts(upstream, "a-newer-token-0001") == ["hi", "You said: hi"]
    state = served.get("/xo-auth/state").json()
    assert (state["authenticated"], state["user_id"]) == (True, "user-1")


def test_without_such_a_way_nobody_is_asked(connect: Connect, upstream: Upstream) -> None:
    served = connect()
    served.post("/xo-auth/consume", NAMES)
    upstream.on(ADD_MESSAGE, fails(401))
    served.ask("hi")
    wait_for(lambda: served.get("/health").json()["chat_api"]["wants_login"])
    paths = {seen.path for seen in upstream.seen}
    assert paths == {"/auth/browser/consume", ADD_MESSAGE}
    assert served.get("/xo-auth/state").json()["authenticated"] is True


@pytest.mark.parametrize(("age", "ready"), [("0", 200), ("0.05", 503)])
def test_history_that_is_late_is_a_reason_where_the_operator_says_so(
    connect: Connect, upstream: Upstream, age: str, ready: int
) -> None:
    served = connect(COWORK_OUTBOX_MAX_AGE=age)
    upstream.always(fails(500))
    served.ask("hi")
    wait_for(lambda: served.get("/health").json()["chat_api"]["oldest_age_s"] > 0.1)
    reply = served.get("/health/ready")
    assert reply.status_code == ready
    assert bool(reply.json()["reasons"]) is (ready == 503)


def test_a_durable_store_whose_outbox_is_full_takes_no_question_and_loses_none(
    connect: Connect, upstream: Upstream, tmp_path: Path
) -> None:
    served = connect(COWORK_STORE=f"sqlite://{tmp_path}/c.db", COWORK_OUTBOX_LIMIT="3")
    upstream.always(fails(500))
    for number in range(2):  # the second answer is beyond the limit, and kept all the same
        assert served.ask(f"{number}").status_code == 200
    reply = served.ask("2")
    problem(reply, 503, "outbox_full")
    assert int(reply.headers["Retry-After"]) > 0
    assert served.get("/health/ready").status_code == 503
    assert served.get("/health").json()["chat_api"]["pending"] == 4
    upstream.always(None)
    wait_for(lambda: len(upstream.messages) == 4)
    texts = [message["message"] for message in upstream.messages]
    assert texts == ["0", "You said: 0", "1", "You said: 1"]
    wait_for(lambda: served.get("/health/ready").status_code == 200)
    assert served.ask("3").status_code == 200


def test_an_outbox_in_memory_that_is_full_drops_the_oldest_and_counts_it(
    connect: Connect, upstream: Upstream
) -> None:
    served = connect(COWORK_OUTBOX_LIMIT="3")
    upstream.always(fails(500))
    for number in range(3):
        assert served.ask(f"{number}").status_code == 200
    state = served.get("/health").json()["chat_api"]
    assert (state["pending"], state["dropped"]) == (3, 3)
    wait_for(lambda: served.get("/health/ready").status_code == 200, what="the look at the CLI")
    upstream.always(None)
    wait_for(lambda: len(upstream.messages) >= 3)
    texts = [message["message"] for message in upstream.messages]
    assert texts[-3:] == ["You said: 1", "2", "You said: 2"]


def test_two_servers_of_one_store_share_the_login_and_the_outbox(
    connect: Connect, upstream: Upstream, tmp_path: Path
) -> None:
    store = {"COWORK_STORE": f"sqlite://{tmp_path}/c.db", "COWORK_XO_REFRESH_PATH": REFRESH}
    one, two = connect(**store), connect(**store)
    one.post("/xo-auth/consume", NAMES)
    assert two.get("/xo-auth/state").json()["authenticated"] is True
    upstream.on(REFRESH, ok({"access_token": "a-newer-token-0001", "expires_in": 3600}))
    upstream.then(fails(401))
    one.ask("one", "p")
    two.ask("two", "q")
    wait_for(lambda: len(upstream.messages) == 4)
    assert len(upstream.at(REFRESH)) == 1
    for server in (one, two):
        assert server.get("/xo-auth/whoami").json() == {"success": True, "user_id": "user-1"}
        assert upstream.seen[-1].headers["authorization"] == "Bearer a-newer-token-0001"
    two.post("/xo-auth/logout")
    assert one.get("/xo-auth/state").json()["authenticated"] is False
    assert one.get("/xo-auth/whoami").status_code == 401


def test_dead_letters_outlive_the_server(
    connect: Connect, upstream: Upstream, another: Another, tmp_path: Path
) -> None:
    settings = {"COWORK_STORE": f"sqlite://{tmp_path}/c.db", "COWORK_API_KEYS": KEYS}
    first = connect(**settings)
    upstream.always(fails(400))
    another(first, KEY).ask("hi")
    wait_for(lambda: another(first, KEY).get("/outbox").json()["dead"] == 2)
    first.close()
    upstream.always(None)
    second = another(connect(**settings), KEY)
    assert len(second.get("/outbox").json()["dead_letters"]) == 2
    assert second.post("/outbox/retry").json()["retried"] == 2
    wait_for(lambda: [each["message"] for each in upstream.messages] == ["hi", "You said: hi"])
