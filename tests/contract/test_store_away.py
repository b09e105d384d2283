"""A store that is away costs new questions a clear refusal, running ones nothing, and comes back."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import requests

from cowork.model import XoToken
from cowork.stores.sqlite.store import SqliteStore
from tests.contract.replies import problem
from tests.fakes import Fakes
from tests.patience import PATIENCE_S
from tests.redis_server import RedisServer
from tests.serving import Client, Served, frames, wait_for
from tests.turns.raw_client import last_frame, question, turn_of

Serve = Callable[..., Served]
# A request waits for a store that is away for less than a second; the rest is this machine's.
BOUND_S = 2.5
KEY = {"Idempotency-Key": "k-1"}


@pytest.fixture
def on_redis(serve: Serve, redis_server: RedisServer, fakes: Fakes) -> Callable[[], Served]:
    return lambda: serve(COWORK_STORE=redis_server.url, **fakes.settings())


@contextmanager
def soon() -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < BOUND_S


def refused(reply: requests.Response) -> None:
    problem(reply, 503, "store_unavailable")
    assert int(reply.headers["Retry-After"]) > 0


def everything_is_refused_soon(served: Served) -> None:
    for call in (
        lambda: served.ask("away?"),
        lambda: served.stream("away?", "q"),
        lambda: served.post("/ask_question", question("keyed"), headers=KEY),
        lambda: served.get("/sessions"),
        lambda: served.delete("/sessions/p"),
        lambda: served.get("/turns/11111111-1111-4111-8111-111111111111"),
    ):
        with soon():
            refused(call())
    with soon():
        health = served.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "healthy")
    wait_for(lambda: "store unavailable" in ready(served)["reasons"], what="the truth")
    assert served.get("/health").json()["store"] == {"kind": "redis", "ok": False}
    with soon():
        assert served.get("/health/live").status_code == 200


def ready(served: Client) -> dict[str, list[str]]:
    with soon():
        found: dict[str, list[str]] = served.get("/health/ready").json()
    return found


def answers_again(served: Served, text: str = "back?") -> requests.Response:
    found: list[requests.Response] = []

    def ask() -> bool:
        found.append(served.ask(text))
        return found[-1].status_code == 200

    wait_for(ask, what="an answer")
    wait_for(lambda: not ready(served)["reasons"], what="readiness")
    return found[-1]


@pytest.mark.parametrize("way", ["paused", "stopped"])
def test_while_redis_is_away_requests_are_refused_within_a_second_and_then_all_goes_on(
    way: str, on_redis: Callable[[], Served], redis_server: RedisServer, fakes: Fakes
) -> None:
    served = on_redis()
    session = served.ask("one").json()["session_id"]
    if way == "paused":
        redis_server.pause()
    else:
        redis_server.stop()
    everything_is_refused_soon(served)
    assert fakes.asked == ["one"]
    if way == "paused":
        redis_server.go_on()
        said = answers_again(served, "[[count]] two").json()
        assert said["session_id"] == session
        assert said["message"] == "I see 2 questions: one | two"
    else:
        redis_server.start()
        # It was restarted empty: the session is gone, and everything works.
        assert answers_again(served).json()["is_new_session"] is True


def test_a_turn_ends_truthfully_while_redis_is_away_and_its_end_is_kept_when_it_is_back(
    on_redis: Callable[[], Served], redis_server: RedisServer
) -> None:
    served = on_redis()
    body = question("[[words 40]] [[delay 20]]")
    with served.post("/ask_question_streaming", body, headers=KEY, stream=True) as reply:
        turn_id = reply.headers["X-Turn-ID"]
        reading = frames(reply)
        next(reading)
        redis_server.pause()
        assert last_frame(list(reading))["success"] is True
    assert turn_of(served, turn_id)["state"] == "succeeded"
    refused(served.ask("away?", "q"))
    redis_server.go_on()
    answers_again(served, "after")
    wait_for(lambda: served.services.maintenance.ok, what="the store's return")
    other = on_redis()
    state = turn_of(other, turn_id)
    assert state == turn_of(served, turn_id)
    assert state["message"].endswith("w40")
    assert other.get("/sessions").json() == served.get("/sessions").json()


def test_a_server_starts_while_redis_is_away(
    on_redis: Callable[[], Served], redis_server: RedisServer
) -> None:
    redis_server.stop()
    with soon():
        served = on_redis()
    refused(served.ask("away?"))
    redis_server.start()
    answers_again(served)


def test_two_servers_on_one_redis_answer_a_project_in_turn(
    on_redis: Callable[[], Served], fakes: Fakes, background: Callable
) -> None:
    first, second = on_redis(), on_redis()
    first.ask("[[words 3]] one")
    slow = background(first.ask, "[[words 30]] [[delay 20]] two")
    fakes.wait_asked(2)
    with soon():
        assert second.ask("hi", "other").status_code == 200
    following = background(second.ask, "[[count]] three").result(PATIENCE_S).json()
    assert slow.result(PATIENCE_S).status_code == 200
    assert following["message"].startswith("I see 3 questions: ")


def test_the_login_outlives_a_restart_and_is_no_ones_to_read(
    on_redis: Callable[[], Served], redis_server: RedisServer, tmp_path: Path
) -> None:
    served = on_redis()
    served.services.store.put_token(XoToken("secret-access-1", "secret-refresh-1", None, "me", "s"))
    served.close()
    again = on_redis()
    assert again.get("/xo-auth/state").json()["user_id"] == "me"
    client = redis.Redis.from_url(redis_server.url)
    kept = b"".join(client.dump(key) for key in client.keys("*"))
    client.close()
    assert b"secret" not in kept
    assert stat.S_IMODE((tmp_path / "store.key").stat().st_mode) == 0o600


def test_a_full_disk_refuses_new_questions_and_loses_no_answer(
    serve: Serve, tmp_path: Path, fakes: Fakes
) -> None:
    url = f"sqlite://{tmp_path}/state.db"
    served = serve(COWORK_STORE=url, **fakes.settings())
    served.ask("one")
    with served.stream("[[words 40]] [[delay 20]]") as reply:
        turn_id = reply.headers["X-Turn-ID"]
        reading = frames(reply)
        next(reading)
        room(served.services.store, 1)
        assert last_frame(list(reading))["success"] is True
    assert turn_of(served, turn_id)["state"] == "succeeded"
    # What is left of the last pages may do for a question or two, whose ends then wait.
    replies = (served.ask("x", f"q{number}") for number in range(50))
    late = next(reply for reply in replies if reply.status_code != 200)
    refused(late)
    with soon():
        refused(served.ask("x", "q"))
    room(served.services.store, None)
    assert answers_again(served, "[[count]] three").json()["message"].startswith("I see 3 ")
    served.close()
    again = serve(COWORK_STORE=url, **fakes.settings())
    assert turn_of(again, turn_id)["message"].endswith("w40")


def test_readiness_knows_a_full_disk(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(COWORK_STORE=f"sqlite://{tmp_path}/state.db")
    served.ask("one")
    assert ready(served)["reasons"] == []
    monkeypatch.setattr("cowork.stores.sqlite.disk_space.MIN_FREE_BYTES", 2**62)
    wait_for(lambda: "store unavailable" in ready(served)["reasons"], what="the truth")
    monkeypatch.undo()
    wait_for(lambda: not ready(served)["reasons"], what="readiness")


def room(timed: Any, pages: int | None) -> None:
    """Let the disk have as good as no room, or all it wants."""
    store = timed._store
    assert isinstance(store, SqliteStore)
    store._read(lambda each: each.execute(f"PRAGMA max_page_count = {pages or 2**30}").fetchone())
