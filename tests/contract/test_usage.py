"""`GET /usage`: what turns took, by day, project, key and model, and who sees whose."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cowork.model import Project, Spending, TurnEnd, TurnRecord, Usage
from tests.background import BackgroundCalls
from tests.contract.replies import delete, invalid, problem
from tests.fakes import Fakes
from tests.redis_server import RedisServer
from tests.serving import Client, Served

A, B, ADMIN = "a" * 40, "b" * 40, "o" * 40
KEYS = {"COWORK_API_KEYS": f"a={A},b={B},admin={ADMIN}", "COWORK_ADMIN_KEYS": "admin"}
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
NUMBERS = ("turns", *TOKENS, "cost_usd")
Another = Callable[..., Client]


def read(client: Client, query: str = "") -> dict[str, Any]:
    reply = client.get(f"/usage{query}")
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    assert found["count"] == len(found["usage"])
    if "truncated" not in found:
        for name in NUMBERS:
            told = sum(row[name] for row in found["usage"])
            assert found["total"][name] == pytest.approx(told), name
    return found


def today() -> date:
    return datetime.now(UTC).date()


def spend(
    served: Served, number: int, cost: float, *, owner: str = "", name: str = "p", days: int = 0
) -> None:
    """The end of a turn that cost so much, so many days ago."""
    at = datetime.now(UTC) - timedelta(days=days)
    record = TurnRecord(f"t-{number}", Project(owner, name), "succeeded", "", at, ended=at)
    spent = (Spending("model", Usage(1, 2, 3, 4), cost),)
    served.services.store.end_turn(TurnEnd(record, keep=60.0, spent=spent))


def test_nothing_was_spent_at_first(served: Served) -> None:
    first, last = today() - timedelta(days=29), today()
    assert read(served) == {
        "usage": [],
        "count": 0,
        "total": dict.fromkeys(NUMBERS, 0),
        "from": first.isoformat(),
        "to": last.isoformat(),
    }


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_what_turns_took_is_told_by_day_project_key_and_model(
    kind: str, serve: Callable[..., Served], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = f"sqlite://{tmp_path}/state.db" if kind == "sqlite" else "memory://"
    if kind == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        store = server.url
    served = serve(COWORK_STORE=store)
    costs = [served.ask("hi", name).json()["total_cost_usd"] for name in ("p", "p", "q/ü")]
    (day,) = read(served)["usage"]
    assert (day["day"], day["turns"]) == (today().isoformat(), 3)
    assert day["cost_usd"] == pytest.approx(sum(costs)) != 0
    assert day["input_tokens"] == day["output_tokens"] > 0
    projects = read(served, "?by=project")["usage"]
    assert [(row["project"], row["key"], row["turns"]) for row in projects] == [
        ("p", None, 2),
        ("q/ü", None, 1),
    ]
    assert projects[0]["cost_usd"] == pytest.approx(costs[0] + costs[1])
    (key,) = read(served, "?by=key")["usage"]
    assert (key["key"], key["turns"]) == (None, 3)
    (model,) = read(served, "?by=model")["usage"]
    assert model["model"].startswith("claude-")
    assert model["turns"] == 3
    assert set(model) == {"model", *NUMBERS}


def test_the_sum_of_a_project_is_what_its_session_has(served: Served) -> None:
    for question in ("one", "[[tool]] two", "[[fail max_turns]] three", "[[die]] four", "five"):
        served.ask(question)
    served.ask("elsewhere", "q")
    kept = served.services.store.session(Project("", "p"))
    assert kept is not None
    (row,) = (each for each in read(served, "?by=project")["usage"] if each["project"] == "p")
    assert row["turns"] == kept.turns == 5
    assert row["cost_usd"] == pytest.approx(kept.cost_usd) != 0
    assert Usage(*(row[name] for name in TOKENS)) == kept.usage


def test_a_turn_that_failed_or_was_interrupted_is_counted_and_one_that_was_not_asked_is_not(
    logged: Served, fakes: Fakes, background: BackgroundCalls, another: Another
) -> None:
    problem(logged.ask("[[die]] [[words 9]]"), 502, "claude_failed")
    asked = background(another(logged).ask, "[[stall]] [[words 9]]")
    fakes.wait_asked(2)
    assert logged.post("/sessions/p/interrupt").json()["success"] is True
    problem(asked.result(), 409, "turn_interrupted")
    assert logged.ask("hi", agent_type="no-such-skill").status_code == 422
    assert read(logged)["total"]["turns"] == 2


def test_a_retry_by_its_key_is_not_counted_again(served: Served) -> None:
    for _ in range(3):
        body = {"project_name": "p", "question": "hi"}
        assert served.post("/ask_question", body, headers={"Idempotency-Key": "k"}).ok
    assert read(served)["total"]["turns"] == 1


def test_what_was_spent_is_known_after_the_session_is_deleted(
    logged: Served, fakes: Fakes, background: BackgroundCalls, another: Another
) -> None:
    logged.ask("one")
    before = read(logged, "?by=project")
    asked = background(another(logged).ask, "[[stall]] [[words 9]]")
    fakes.wait_asked(2)
    delete(logged, "p")
    problem(asked.result(), 409, "turn_interrupted")
    after = read(logged, "?by=project")
    assert (before["total"]["turns"], after["total"]["turns"]) == (1, 2)
    assert after["usage"][0]["cost_usd"] >= before["usage"][0]["cost_usd"] > 0
    assert logged.get("/sessions").json()["count"] == 0


def test_what_was_spent_is_known_after_a_restart(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    settings = {"COWORK_STORE": f"sqlite://{tmp_path}/state.db"}
    before = serve(**settings)
    before.ask("hi")
    told = read(before, "?by=model")
    before.close()
    assert read(serve(**settings), "?by=model") == told


def test_t10_a_caller_sees_its_own_and_an_operator_everybodys(
    serve: Callable[..., Served], another: Another
) -> None:
    served = serve(**KEYS)
    a, b, admin = (another(served, key) for key in (A, B, ADMIN))
    a.ask("one", "p")
    a.ask("two", "of a alone")
    b.ask("three", "p")
    for client, turns in ((a, 2), (b, 1), (admin, 3)):
        for by in ("day", "project", "key", "model"):
            assert read(client, f"?by={by}")["total"]["turns"] == turns, by
    assert [(row["key"], row["turns"]) for row in read(a, "?by=key")["usage"]] == [("a", 2)]
    keys = {row["key"]: row["turns"] for row in read(admin, "?by=key")["usage"]}
    assert keys == {"a": 2, "b": 1}
    assert all("key" not in row for row in read(a, "?by=project")["usage"])
    assert "of a alone" not in b.get("/usage?by=project").text
    projects = {(row["key"], row["project"]) for row in read(admin, "?by=project")["usage"]}
    assert projects == {("a", "p"), ("a", "of a alone"), ("b", "p")}


def test_days_are_asked_for_by_their_dates(served: Served) -> None:
    for number, days in enumerate((0, 29, 30, 300)):
        spend(served, number, 1.0, days=days)
    assert [row["turns"] for row in read(served)["usage"]] == [1, 1]
    back = [(today() - timedelta(days=days)).isoformat() for days in (300, 30, 29, 0)]
    found = read(served, f"?from={back[0]}")
    assert [row["day"] for row in found["usage"]] == back
    assert (found["from"], found["to"]) == (back[0], back[3])
    assert [row["day"] for row in read(served, f"?from={back[1]}&to={back[2]}")["usage"]] == back[
        1:3
    ]
    assert [row["day"] for row in read(served, f"?to={back[1]}")["usage"]] == back[1:2]
    assert [row["day"] for row in read(served, f"?from={back[3]}&to={back[3]}")["usage"]] == back[
        3:
    ]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("by=week", "by"),
        ("by=", "by"),
        ("from=yesterday", "from"),
        ("from=20260101", "from"),
        ("from=2026-W01-1", "from"),
        ("from=2026-1-1", "from"),
        ("from=2026-02-30", "from"),
        ("from=%D9%A2026-01-01", "from"),
        ("from=", "from"),
        ("to=2026-01-01T00:00:00", "to"),
        ("to=0000-01-01", "to"),
        ("from=2026-01-02&to=2026-01-01", "from"),
        ("from=9999-12-31", "from"),
        ("from=2024-01-01&to=2025-02-05", "from"),
        ("from=0001-01-01", "from"),
    ],
)
def test_what_is_no_time_or_too_long_is_refused_by_its_name(
    served: Served, query: str, place: str
) -> None:
    invalid(served.get(f"/usage?{query}"), "query", place)


@pytest.mark.parametrize(
    "query",
    [
        "from=2024-01-01&to=2025-02-04",
        "to=0001-01-05",
        "from=9999-12-31&to=9999-12-31",
        "to=9999-12-31",
        "owner=b&key=b&more=x",
    ],
)
def test_what_is_just_within_the_bounds_is_answered(served: Served, query: str) -> None:
    assert read(served, f"?{query}")["usage"] == []


def test_of_too_many_projects_those_that_cost_most_are_told_and_all_are_in_the_total(
    served: Served,
) -> None:
    for number in range(1003):
        spend(served, number, float(number), name=f"p{number}")
    found = read(served, "?by=project")
    assert (found["truncated"], found["count"]) == (True, 1000)
    told = [row["project"] for row in found["usage"]]
    assert told == [f"p{number}" for number in range(1002, 2, -1)]
    assert found["total"]["turns"] == 1003
    assert found["total"]["cost_usd"] == sum(range(1003))
    assert "truncated" not in read(served, "?by=model")


def test_a_store_that_is_unavailable_is_told(
    serve: Callable[..., Served], redis_server: RedisServer
) -> None:
    served = serve(COWORK_STORE=redis_server.url)
    assert read(served)["count"] == 0
    redis_server.stop()
    problem(served.get("/usage"), 503, "store_unavailable")
