"""`POST /sessions/{project}/fork` and `/rewind`: what they reply, and every way they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.contract.replies import invalid, problem
from tests.fakes import Fakes
from tests.serving import Client, Served

ON = {"COWORK_CHECKPOINTS": "true"}
KEPT = {
    *("project_id", "session_id", "title", "created_at", "last_used_at", "turns", "usage"),
    *("total_cost_usd", "directory", "context", "last_words"),
}
NOT_RESTORED = "What Bash or another program has changed is not restored."


@pytest.fixture
def served(serve: Callable[..., Served], fakes: Fakes) -> Served:
    return serve(**ON, **fakes.settings())


def asked(client: Client, *words: str, project: str = "p") -> list[str]:
    """Ask so many questions; the ids of their turns."""
    return [client.ask(f"[[say {word}]] {word}", project).json()["turn_id"] for word in words]


def rewind(client: Client, turn: str, project: str = "p", **body: Any) -> requests.Response:
    return client.post(f"/sessions/{project}/rewind", {"to_turn": turn, **body})


def test_a_rewind_replies_with_the_session_as_it_goes_on(served: Served) -> None:
    turns = asked(served, "one", "two")
    before = served.get("/sessions/p").json()
    served.http.patch(f"{served.url}/sessions/p", json={"title": "Mine"})
    reply = rewind(served, turns[0])
    assert reply.status_code == 200, reply.text
    told = reply.json()
    assert set(told) == {*KEPT, "files"}
    assert told["files"] is None
    assert (told["title"], told["turns"]) == ("Mine", 2)
    assert told["session_id"] != before["session_id"]
    now = served.get("/sessions/p").json()
    assert {name: now[name] for name in KEPT} == {name: told[name] for name in KEPT}
    assert served.ask("[[count]]").json()["message"].startswith("I see 2 questions")


def test_a_fork_replies_with_the_new_session(served: Served) -> None:
    turns = asked(served, "one", "two")
    reply = served.post("/sessions/p/fork", {"to": "q", "at_turn": turns[0]})
    assert reply.status_code == 201, reply.text
    told = reply.json()
    assert set(told) == KEPT
    assert (told["project_id"], told["title"], told["turns"]) == ("q", None, 0)
    assert served.ask("[[count]]", "q").json()["message"].startswith("I see 2 questions")
    assert served.ask("[[count]]", "p").json()["message"].startswith("I see 3 questions")
    whole = served.post("/sessions/p/fork", {"to": "whole"}, headers={"X-Cowork-Project": "p"})
    assert whole.status_code == 201, whole.text


def test_a_preview_tells_what_would_change_and_changes_nothing(
    served: Served, fakes: Fakes
) -> None:
    turns = asked(served, "one", "two", "three")
    session = served.get("/sessions/p").json()["session_id"]
    told = rewind(served, turns[0], files="preview").json()
    assert told["session_id"] == session
    assert told["files"] == {
        "mode": "preview",
        "can_restore": True,
        "reason": None,
        "changed": ["new.txt", "/elsewhere/b.txt"],
        "count": 2,
        "insertions": 2,
        "deletions": 1,
        "skipped_links": None,
        "unrestored": None,
        "not_restored": NOT_RESTORED,
    }
    # As files were before the turn that came next.
    (request,) = rewinds(fakes)
    assert (request["user_message_id"], request["dry_run"]) == (turns[1], True)
    assert served.ask("[[count]]").json()["message"].startswith("I see 4 questions")
    assert len(fakes.entries("start")) == 1  # the same process goes on


def rewinds(fakes: Fakes) -> list[dict[str, Any]]:
    requested: list[dict[str, Any]] = [entry["request"] for entry in fakes.entries("control")]
    return [each for each in requested if each["subtype"] == "rewind_files"]


def test_a_restore_does_both_once(served: Served, fakes: Fakes) -> None:
    turns = asked(served, "one", "two", "three")
    told = rewind(served, turns[1], files="restore").json()
    assert told["files"]["mode"] == "restore"
    assert told["files"]["skipped_links"] == 1
    assert told["files"]["not_restored"] == NOT_RESTORED
    # Looked at again behind it, since the CLI does not say what it could not restore.
    assert told["files"]["unrestored"] == ["new.txt", "/elsewhere/b.txt"]
    assert [(each["user_message_id"], each["dry_run"]) for each in rewinds(fakes)] == [
        (turns[2], True),
        (turns[2], False),
        (turns[2], True),
    ]
    assert served.ask("[[count]]").json()["message"].startswith("I see 3 questions")


def test_behind_the_last_turn_there_is_nothing_to_restore(served: Served, fakes: Fakes) -> None:
    turns = asked(served, "one", "two")
    for mode, skipped, left in (("preview", None, None), ("restore", 0, [])):
        files = rewind(served, turns[1], files=mode).json()["files"]
        assert (files["can_restore"], files["count"], files["changed"]) == (True, 0, [])
        assert (files["skipped_links"], files["unrestored"]) == (skipped, left)
    assert rewinds(fakes) == []


def test_without_the_setting_files_are_kept_or_nothing_is_done(
    serve: Callable[..., Served], fakes: Fakes
) -> None:
    served = serve(**fakes.settings())
    turns = asked(served, "one", "two")
    for mode in ("preview", "restore"):
        (fault,) = invalid(rewind(served, turns[0], files=mode))
        assert fault["loc"] == ["body", "files"]
        assert fault["msg"] == "this server keeps no checkpoints of files; see COWORK_CHECKPOINTS"
    assert served.ask("[[count]]").json()["message"].startswith("I see 3 questions")
    assert rewind(served, turns[0]).status_code == 200


@pytest.mark.parametrize(
    ("cue", "status", "code"),
    [
        ("none", 409, "files_not_restored"),
        ("fail", 409, "files_not_restored"),
        ("exit", 502, "claude_failed"),
    ],
)
def test_what_the_cli_cannot_restore_leaves_the_session_as_it_was(
    cue: str, status: int, code: str, serve: Callable[..., Served], fakes: Fakes
) -> None:
    served = serve(**ON, **fakes.settings(rewind=cue))
    turns = asked(served, "one", "two")
    before = served.get("/sessions/p").json()["session_id"]
    problem(rewind(served, turns[0], files="restore"), status, code)
    preview = rewind(served, turns[0], files="preview")
    if cue == "none":
        assert preview.json()["files"]["can_restore"] is False
        assert "COWORK_CHECKPOINTS" in preview.json()["files"]["reason"]
    assert served.get("/sessions/p").json()["session_id"] == before
    assert served.ask("[[count]]").json()["message"].startswith("I see 3 questions")


def test_what_is_not_there_or_there_already_is_said(served: Served) -> None:
    turns = asked(served, "one")
    asked(served, "one", project="q")
    problem(served.post("/sessions/nobody/fork", {"to": "x"}), 404, "session_not_found")
    problem(rewind(served, turns[0], "nobody"), 404, "session_not_found")
    problem(served.post("/sessions/p/fork", {"to": "q"}), 409, "session_exists")
    problem(served.post("/sessions/p/fork", {"to": "p"}), 409, "session_exists")
    for path, body, place in (
        ("fork", {"to": "new", "at_turn": "nobody"}, "at_turn"),
        ("rewind", {"to_turn": "nobody"}, "to_turn"),
        ("rewind", {"to_turn": turns[0], "files": "all"}, "files"),
        ("rewind", {"to_turn": turns[0], "on_busy": "steer"}, "on_busy"),
        ("fork", {"to": "new", "on_busy": ""}, "on_busy"),
        ("fork", {}, "to"),
    ):
        (fault,) = invalid(served.post(f"/sessions/p/{path}", body))
        assert fault["loc"] == ["body", place]
    for key in ("", "x" * 256):
        reply = served.post("/sessions/p/fork", {"to": "new"}, headers={"Idempotency-Key": key})
        (fault,) = invalid(reply)
        assert fault["loc"] == ["header", "Idempotency-Key"]
    assert served.get("/sessions/new").status_code == 404


def test_it_is_no_question_that_is_counted_or_told_of(served: Served) -> None:
    turns = asked(served, "one", "two")
    usage = served.get("/usage").json()["total"]
    rewind(served, turns[0])
    served.post("/sessions/p/fork", {"to": "q"})
    assert served.get("/usage").json()["total"] == usage
    assert served.get("/sessions/p").json()["turns"] == 2
    texts = [each["parts"][0]["text"] for each in messages(served)]
    assert texts == ["[[say one]] one", "one"]


def messages(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/sessions/p/messages").json()["messages"]
    return found
