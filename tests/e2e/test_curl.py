"""The founding document's own curl lines, typed as they stand there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from tests.conftest import missing
from tests.contract.replies import is_moment, is_uuid
from tests.e2e.environment import Stage

pytestmark = pytest.mark.e2e

ASK = r"""curl -X POST http://localhost:5002/ask_question \
  -H "Content-Type: application/json" \
  -d '{"project_name": "test", "question": "Hello!"}'"""
STREAM = r"""curl -X POST http://localhost:5002/ask_question_streaming \
  -H "Content-Type: application/json" \
  -d '{"project_name": "test", "question": "Hello!"}'"""
SESSIONS = "curl http://localhost:5002/sessions"
CLEAR = "curl -X DELETE http://localhost:5002/sessions/test"


def typed(stage: Stage, line: str) -> str:
    """What the line prints in a shell; only the port is another."""
    if shutil.which("curl") is None:
        missing("curl", "apt-get install curl")
    done = subprocess.run(
        ["/bin/sh", "-c", line.replace(":5002", f":{stage.server.port}")],
        env={"PATH": os.environ["PATH"], "NO_PROXY": "*"},
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_the_documents_curl_lines_get_its_shapes(stage: Stage) -> None:
    asked = json.loads(typed(stage, ASK))
    assert asked.keys() >= {"id", "message", "project_id", "user_id", "session_id"}
    assert asked["id"] is None
    assert "demo model" in asked["message"]
    assert (asked["project_id"], asked["user_id"]) == ("test", "default_user")
    assert is_uuid(asked["session_id"])
    assert asked["is_new_session"] is True
    assert is_moment(asked["timestamp"])

    blocks = [block for block in typed(stage, STREAM).split("\n\n") if block]
    lines = [[line for line in block.split("\n") if line.startswith("data: ")] for block in blocks]
    events = [json.loads(line.removeprefix("data: ")) for (line,) in lines]
    *tokens, last = events
    assert [event["type"] for event in tokens] == ["token"] * len(tokens)
    assert "".join(event["token"] for event in tokens).startswith("Hello again!")
    assert last["done"] is True

    sessions = json.loads(typed(stage, SESSIONS))
    assert sessions == {"sessions": {"test": asked["session_id"]}, "count": 1}

    cleared = json.loads(typed(stage, CLEAR))
    assert cleared == {"success": True, "message": "Session cleared for test"}
    absent = json.loads(typed(stage, CLEAR))
    assert absent == {"success": False, "message": "No session found for test"}
    assert json.loads(typed(stage, SESSIONS)) == {"sessions": {}, "count": 0}
