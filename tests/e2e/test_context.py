"""A project's memory: over turns, over the death of its process, and when it is really lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.environment import Stage, argv_of, kill
from tests.serving import joined

pytestmark = pytest.mark.e2e


def test_two_turns_of_a_project_are_one_conversation(stage: Stage) -> None:
    first = stage.server.ask("[[say one]] alpha", "two turns").json()
    process = stage.cli(first["session_id"])
    second = stage.server.ask("[[count]] beta", "two turns").json()
    assert second["session_id"] == first["session_id"]
    assert (first["is_new_session"], second["is_new_session"]) == (True, False)
    assert second["message"] == 'I see 2 questions: "[[say one]] alpha", "[[count]] beta"'
    assert stage.cli(first["session_id"]) == process


def test_another_project_knows_nothing_of_it(stage: Stage) -> None:
    stage.server.ask("[[say one]] gamma", "one project")
    assert "gamma" not in stage.server.ask("[[count]]", "another project").json()["message"]


def test_a_killed_process_is_resumed_and_remembers(stage: Stage) -> None:
    first = stage.server.ask("[[say one]] alpha", "killed").json()
    for number in (2, 3):
        kill(stage.cli(first["session_id"]))
        reply = stage.server.ask("[[count]]", "killed").json()
        assert reply["session_id"] == first["session_id"]
        assert reply["is_new_session"] is False
        assert "session_recovered" not in reply
        assert reply["message"].startswith(f'I see {number} questions: "[[say one]] alpha"')
        argv = argv_of(stage.cli(first["session_id"]))
        assert f"--resume={first['session_id']}" in argv


def lose(stage: Stage, project: str) -> str:
    """Have a session whose transcript and process are gone; its id."""
    session: str = stage.server.ask("[[say one]] alpha", project).json()["session_id"]
    transcript: Path = stage.transcript(session)
    kill(stage.cli(session))
    transcript.unlink()
    return session


def test_a_lost_session_is_replaced_and_the_reply_says_so(stage: Stage) -> None:
    lost = lose(stage, "lost")
    reply = stage.server.ask("[[count]]", "lost")
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert body["message"] == 'I see 1 question: "[[count]]"'
    assert body["is_new_session"] is True
    assert body["session_recovered"] is True
    assert body["session_id"] != lost
    assert stage.server.get("/sessions").json()["sessions"]["lost"] == body["session_id"]
    told = json.dumps(stage.model.requests[-1])
    assert "<earlier_conversation>" in told
    assert "alpha" in told
    again = stage.server.ask("[[count]]", "lost").json()
    assert again["message"].startswith("I see 2 questions")
    assert again["is_new_session"] is False
    assert "session_recovered" not in again


def test_a_lost_session_is_replaced_and_the_last_frame_says_so(stage: Stage) -> None:
    lost = lose(stage, "lost stream")
    seen = stage.server.streamed("[[count]]", "lost stream")
    last = seen[-1].data
    assert joined(seen) == 'I see 1 question: "[[count]]"'
    assert last["success"] is True
    assert last["is_new_session"] is True
    assert last["session_recovered"] is True
    assert last["session_id"] != lost


def test_a_process_killed_in_mid_turn_is_told_and_its_project_goes_on(stage: Stage) -> None:
    first = stage.server.ask("[[say one]] alpha", "died").json()
    process = stage.cli(first["session_id"])
    with stage.server.stream("[[words 500]] [[delay 50]]", "died") as reply:
        lines = reply.iter_lines(chunk_size=1)
        assert b"id: " in next(lines)
        kill(process)
        rest = b"\n".join(lines)
    assert b'"code":"claude_failed"' in rest.replace(b'": "', b'":"')
    assert b'"success": false' in rest.rpartition(b"data: ")[2]
    after = stage.server.ask("[[count]]", "died").json()
    assert '"[[say one]] alpha"' in after["message"]
    assert after["session_id"] == first["session_id"]
