"""The turns of a project, newest first: those that are kept, those that run and those that wait."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.background import BackgroundCalls
from tests.fakes import Fakes
from tests.serving import Client, Served, wait_for

KEYS = {name: f"{name}-{'k' * 32}" for name in ("ann", "bob")}
LEFT_OUT = {"structured_output", "usage_by_model", "permission_denials", "files_changed"}


@pytest.fixture(params=["memory", "sqlite"])
def kept_in(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The settings of a server with a volatile store, and with a durable one."""
    durable = {
        "COWORK_STORE": f"sqlite:///{tmp_path}/state/c.db",
        "COWORK_STORE_KEY_FILE": str(tmp_path / "store.key"),
    }
    return durable if request.param == "sqlite" else {}


def listed(served: Client, project: str = "p", **query: object) -> list[str]:
    found = served.get(f"/sessions/{project}/turns", params=query).json()
    assert found["count"] == len(found["turns"])
    return [each["turn_id"] for each in found["turns"]]


def test_a_turn_is_listed_as_it_stands_while_it_waits_runs_and_has_ended(
    serve: Callable[..., Served],
    fakes: Fakes,
    background: BackgroundCalls,
    kept_in: dict[str, str],
) -> None:
    served = serve(**fakes.settings(), **kept_in)
    running = background(lambda: served.ask("[[words 300]] [[delay 20]]"))
    fakes.wait_asked(1)
    waiting = background(lambda: served.ask("[[say two]]"))
    wait_for(lambda: len(listed(served)) == 2, what="a queued turn")
    queued, first = served.get("/sessions/p/turns").json()["turns"]
    assert (queued["state"], queued["started_at"]) == ("queued", None)
    assert (first["state"], first["message"], first["ended_at"]) == ("running", "", None)
    assert listed(served, state="running") == [first["turn_id"]]
    served.post("/sessions/p/interrupt")
    assert running.result().status_code == 409
    assert waiting.result().status_code == 200
    second, first = served.get("/sessions/p/turns").json()["turns"]
    assert (first["state"], first["error"]["code"]) == ("interrupted", "turn_interrupted")
    assert second["turn_id"] == queued["turn_id"]
    whole = served.get(f"/turns/{second['turn_id']}").json()
    assert second == {
        **{name: value for name, value in whole.items() if name not in LEFT_OUT},
        "message_truncated": False,
    }
    assert (second["state"], second["message"]) == ("succeeded", "two")


def test_long_texts_are_cut(serve: Callable[..., Served], kept_in: dict[str, str]) -> None:
    served = serve(**kept_in)
    answer = served.ask("[[words 800]]").json()["message"]
    assert len(answer) > 1000
    (turn,) = served.get("/sessions/p/turns").json()["turns"]
    assert turn["message"] == answer[:1000]
    assert turn["message_truncated"] is True


def test_turns_come_in_pages_newest_first(
    serve: Callable[..., Served], kept_in: dict[str, str]
) -> None:
    served = serve(**kept_in)
    asked = [served.ask(f"[[say {n}]]").headers["X-Turn-ID"] for n in range(5)]
    found: list[str] = []
    query: dict[str, object] = {"limit": 2}
    while True:
        page = served.get("/sessions/p/turns", params=query).json()
        found += [each["turn_id"] for each in page["turns"]]
        assert page["count"] <= 2
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert found == asked[::-1]
    assert listed(served, state="failed") == []
    for wrong in ({"limit": 0}, {"limit": 201}, {"state": "done"}, {"cursor": "x"}):
        reply = served.get("/sessions/p/turns", params=wrong)
        assert reply.status_code == 422, wrong
        assert reply.json()["detail"][0]["loc"] == ["query", *wrong]


def test_a_project_without_session_and_turns_is_not_found(
    serve: Callable[..., Served], kept_in: dict[str, str]
) -> None:
    served = serve(**kept_in)
    reply = served.get("/sessions/p/turns")
    assert (reply.status_code, reply.json()["detail"]["code"]) == (404, "session_not_found")
    served.ask("[[say hi]]")
    assert len(listed(served)) == 1
    served.delete("/sessions/p")
    assert served.get("/sessions/p/turns").status_code == 404


def test_turns_that_are_no_longer_kept_are_not_listed(
    serve: Callable[..., Served], kept_in: dict[str, str]
) -> None:
    served = serve(**kept_in, COWORK_TURN_RETENTION="1")
    served.post(
        "/ask_question",
        {"project_name": "p", "question": "[[say hi]]"},
        headers={"Idempotency-Key": "k"},
    )
    wait_for(lambda: listed(served) == [], what="the end of its time")
    assert served.get("/sessions/p").status_code == 200


def test_t10_another_owners_turns_are_not_there(
    serve: Callable[..., Served], another: Callable[..., Client], kept_in: dict[str, str]
) -> None:
    served = serve(COWORK_API_KEYS=",".join(f"{n}={k}" for n, k in KEYS.items()), **kept_in)
    ann, bob = (another(served, KEYS[name]) for name in ("ann", "bob"))
    ann.ask("[[say hi]]", "p")
    assert len(listed(ann)) == 1
    assert bob.get("/sessions/p/turns").status_code == 404


def test_after_a_restart_the_turns_of_a_durable_store_are_listed(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    settings = {
        "COWORK_STORE": f"sqlite:///{tmp_path}/state/c.db",
        "COWORK_STORE_KEY_FILE": str(tmp_path / "store.key"),
    }
    first = serve(**settings)
    turn_id = first.ask("[[say hi]]").headers["X-Turn-ID"]
    before = first.get("/sessions/p/turns").json()
    first.close()
    second = serve(**settings)
    assert second.get("/sessions/p/turns").json() == before
    assert listed(second) == [turn_id]


def test_what_asks_nothing_is_not_listed(
    serve: Callable[..., Served], kept_in: dict[str, str]
) -> None:
    served = serve(**kept_in)
    turns = [served.ask(f"[[say {n}]]").json()["turn_id"] for n in range(2)]
    assert served.post("/sessions/p/fork", {"to": "q"}).status_code == 201
    assert served.post("/sessions/p/rewind", {"to_turn": turns[0]}).status_code == 200
    assert listed(served) == turns[::-1]
    assert listed(served, "q") == []
