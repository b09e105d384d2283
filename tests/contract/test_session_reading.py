"""Sessions as a resource: how they stand, their titles, what was said, their processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.background import BackgroundCalls
from tests.fakes import Fakes
from tests.serving import Client, Served, wait_for

KEYS = {name: f"{name}-{'k' * 32}" for name in ("ann", "bob")}
SET = {"COWORK_API_KEYS": ",".join(f"{name}={key}" for name, key in KEYS.items())}


def test_a_session_tells_how_it_stands(
    serve: Callable[..., Served], fakes: Fakes, background: BackgroundCalls
) -> None:
    served = serve(**fakes.settings())
    assert served.get("/sessions/p").status_code == 404
    assert served.get("/sessions/p").json()["detail"]["code"] == "session_not_found"
    first = served.ask("[[say one]]").json()
    told = served.get("/sessions/p").json()
    assert (told["session_id"], told["turns"], told["state"]) == (first["session_id"], 1, "idle")
    assert told["total_cost_usd"] == first["total_cost_usd"]
    assert told["process"]["state"] == "idle"
    assert told["title"] is None
    running = background(lambda: served.ask("[[words 200]] [[delay 20]]"))
    fakes.wait_asked(2)
    waiting = background(lambda: served.ask("[[say three]]"))
    wait_for(lambda: served.get("/sessions/p").json()["queued"] == 1, what="a queued question")
    assert served.get("/sessions/p").json()["state"] == "running"
    served.post("/sessions/p/interrupt")
    assert running.result().status_code == 409
    assert waiting.result().json()["message"] == "three"


def test_a_title_is_given_and_taken_back(served: Served) -> None:
    path = f"{served.url}/sessions/p"
    assert served.http.patch(path, json={"title": "x"}).status_code == 404
    served.ask("[[say one]]")
    assert served.http.patch(path, json={"title": "My 日本"}).json()["title"] == "My 日本"
    served.ask("[[say two]]")
    assert served.get("/sessions/p").json()["title"] == "My 日本"
    for title in ("", " ", "x" * 201, "a\nb", 3):
        assert served.http.patch(path, json={"title": title}).status_code == 422
    assert served.http.patch(path, json={}).status_code == 422
    assert served.http.patch(path, json={"title": None}).json()["title"] is None
    served.http.patch(path, json={"title": "gone"})
    served.delete("/sessions/p")
    served.ask("[[say one]]")
    assert served.get("/sessions/p").json()["title"] is None


def test_sessions_come_in_pages_newest_first(served: Served) -> None:
    for name in ("a", "b", "c"):
        served.ask("[[say hi]]", name)
    assert set(served.get("/sessions").json()["sessions"]) == {"a", "b", "c"}
    query: dict[str, object] = {"details": "true", "limit": 2}
    first = served.get("/sessions", params=query).json()
    assert [each["project_id"] for each in first["sessions"]] == ["c", "b"]
    rest = served.get("/sessions", params={**query, "cursor": first["next"]}).json()
    assert [each["project_id"] for each in rest["sessions"]] == ["a"]
    assert rest["next"] is None
    for wrong in ("0", "201", "x"):
        assert served.get("/sessions", params={**query, "limit": wrong}).status_code == 422


def test_messages_come_in_pages_oldest_first(served: Served) -> None:
    assert served.get("/sessions/p/messages").status_code == 404
    turns = [served.ask(f"[[say {word}]]").json()["turn_id"] for word in ("one", "two")]
    told = served.get("/sessions/p/messages").json()
    texts = [each["parts"][0]["text"] for each in told["messages"]]
    assert texts == ["[[say one]]", "one", "[[say two]]", "two"]
    assert [each["turn_id"] for each in told["messages"][::2]] == turns
    path = "/sessions/p/messages"
    page = served.get(path, params={"limit": 3}).json()
    assert len(page["messages"]) == 3
    rest = served.get(path, params={"after": page["next"]}).json()
    assert ([each["parts"][0]["text"] for each in rest["messages"]], rest["next"]) == (
        ["two"],
        None,
    )
    back = served.get(path, params={"before": rest["messages"][0]["id"], "limit": 2}).json()
    assert [each["parts"][0]["text"] for each in back["messages"]] == ["one", "[[say two]]"]
    assert back["next"] == back["messages"][0]["id"]
    for wrong in ({"after": "nobody"}, {"before": "x", "after": "y"}, {"limit": "0"}):
        assert served.get(path, params=wrong).status_code == 422


def test_what_was_said_is_remembered_where_its_transcript_is_gone(
    served: Served, fake_environ: dict[str, str]
) -> None:
    served.ask("[[say one]]")
    for path in Path(fake_environ["HOME"]).rglob("*.jsonl"):
        path.unlink()
    told = served.get("/sessions/p/messages").json()
    assert told["source"] == "history"
    assert [each["parts"][0]["text"] for each in told["messages"]] == ["[[say one]]", "one"]


def test_an_idle_process_is_ended_and_the_session_goes_on(
    serve: Callable[..., Served], fakes: Fakes, background: BackgroundCalls
) -> None:
    served = serve(**fakes.settings())
    first = served.ask("[[say one]]").json()
    (process,) = served.get("/processes").json()["processes"]
    assert served.delete("/processes/nobody").status_code == 404
    running = background(lambda: served.ask("[[words 200]] [[delay 20]]"))
    fakes.wait_asked(2)
    busy = served.delete(f"/processes/{process['id']}")
    assert (busy.status_code, busy.json()["detail"]["code"]) == (409, "process_busy")
    served.post("/sessions/p/interrupt")
    running.result()
    wait_for(
        lambda: served.get("/processes").json()["processes"][0]["state"] == "idle", what="idle"
    )
    assert served.delete(f"/processes/{process['id']}").json()["success"] is True
    assert served.get("/processes").json()["count"] == 0
    assert served.ask("[[count]]").json()["session_id"] == first["session_id"]


def test_nobody_reads_anothers(
    serve: Callable[..., Served], another: Callable[..., Client]
) -> None:
    served = serve(**SET)
    ann, bob = (another(served, key) for key in KEYS.values())
    ann.ask("[[say secret]]")
    (process,) = ann.get("/processes").json()["processes"]
    assert bob.get("/sessions/p").status_code == 404
    assert bob.get("/sessions/p/messages").status_code == 404
    assert bob.http.patch(f"{served.url}/sessions/p", json={"title": "x"}).status_code == 404
    assert bob.delete(f"/processes/{process['id']}").status_code == 404
    assert bob.get("/sessions", params={"details": "true"}).json()["sessions"] == []
