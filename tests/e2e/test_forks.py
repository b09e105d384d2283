"""Forks and rewinds on the real CLI: what the model is sent afterwards, and what it cost."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.environment import Stage, kill

pytestmark = pytest.mark.e2e


def ask(stage: Stage, question: str, project: str) -> dict[str, Any]:
    reply = stage.server.ask(question, project)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def texts(stage: Stage, project: str) -> list[str]:
    found = stage.server.get(f"/sessions/{project}/messages").json()
    assert found["source"] == "transcript"
    return [each["parts"][0]["text"] for each in found["messages"]]


def test_a_fork_goes_on_from_an_earlier_turn_and_leaves_the_original_alone(stage: Stage) -> None:
    first = ask(stage, "[[say one]] okapi", "origin")
    ask(stage, "[[say two]] tapir", "origin")
    before = stage.transcript(first["session_id"]).read_bytes()
    path = "/sessions/origin/fork"
    made = stage.server.post(path, {"to": "edited", "at_turn": first["turn_id"]})
    assert made.status_code == 201, made.text
    assert (made.json()["turns"], made.json()["total_cost_usd"]) == (0, 0)
    again = stage.server.post(path, {"to": "edited"})
    assert (again.status_code, again.json()["detail"]["code"]) == (409, "session_exists")
    told = ask(stage, "[[count]] zebra", "edited")
    assert told["message"].startswith("I see 2 questions")
    assert "okapi" in told["message"]
    assert "tapir" not in told["message"]
    assert told["session_id"] == made.json()["session_id"]
    assert told["total_cost_usd"] == stage.server.get("/sessions/edited").json()["total_cost_usd"]
    assert stage.transcript(first["session_id"]).read_bytes() == before
    assert ask(stage, "[[count]]", "origin")["message"].startswith("I see 3 questions")
    whole = stage.server.post(path, {"to": "whole"})
    assert whole.status_code == 201
    assert ask(stage, "[[count]]", "whole")["message"].startswith("I see 4 questions")
    assert texts(stage, "edited")[:3] == ["[[say one]] okapi", "one", "[[count]] zebra"]


def test_a_rewind_takes_what_came_after_out_of_the_conversation(stage: Stage) -> None:
    first = ask(stage, "[[say one]] okapi", "rewound")
    ask(stage, "[[say two]] tapir", "rewound")
    path = "/sessions/rewound/rewind"
    made = stage.server.post(path, {"to_turn": first["turn_id"]})
    assert made.status_code == 200, made.text
    assert texts(stage, "rewound") == ["[[say one]] okapi", "one"]
    told = ask(stage, "[[count]]", "rewound")
    assert told["message"].startswith("I see 2 questions")
    assert "tapir" not in told["message"]
    # Also for a process that is killed right after, and the one that resumes it.
    kill(stage.cli(told["session_id"]))
    assert "tapir" not in ask(stage, "[[count]]", "rewound")["message"]
    assert stage.server.delete("/sessions/rewound").json()["success"] is True


def test_what_cannot_be_is_refused_and_changes_nothing(stage: Stage) -> None:
    assert stage.server.post("/sessions/nobody/fork", {"to": "x"}).status_code == 404
    assert stage.server.post("/sessions/nobody/rewind", {"to_turn": "x"}).status_code == 404
    ask(stage, "[[say one]]", "kept")
    for path, body, field in (
        ("fork", {"to": "new", "at_turn": "nobody"}, "at_turn"),
        ("fork", {"to": "\n"}, "to"),
        ("rewind", {"to_turn": "nobody"}, "to_turn"),
        ("rewind", {"to_turn": "x", "files": "restore"}, "files"),
    ):
        reply = stage.server.post(f"/sessions/kept/{path}", body)
        assert reply.status_code == 422, reply.text
        assert field in str(reply.json()["detail"][0]["loc"])
    assert stage.server.get("/sessions/new").status_code == 404
    assert ask(stage, "[[count]]", "kept")["message"].startswith("I see 2 questions")
