"""Whatever a server answers, a command ends with a sentence and never with a traceback."""

from __future__ import annotations

import json

import pytest

from cowork.terminal import exits
from cowork.terminal.cli import main
from tests.lying_server import DONE, answer, lying, stream, token

WRONG = [
    None,
    3,
    True,
    "x",
    "\ud800",
    [],
    [[]],
    [None],
    {},
    {"a": {}},
    float("nan"),
    float("inf"),
    10**400,
]
COMMANDS = {
    "sessions": ["sessions"],
    "messages": ["messages", "p"],
    "approvals": ["approvals"],
    "resolved": ["approvals", "--resolved"],
    "allow": ["approvals", "allow", "a"],
    "answer": ["approvals", "answer", "a", "q=a"],
    "interrupt": ["interrupt", "p"],
    "fork": ["fork", "p", "q"],
    "health": ["health"],
    "top": ["top"],
}  # fmt: skip
KEYS = ("sessions", "messages", "approvals", "processes", "next", "ready", "reasons", "claude", "store", "chat_api", "turns", "success", "state")  # fmt: skip
PARTS = ("project_id", "state", "turns", "total_cost_usd", "last_used_at", "title", "role", "created_at", "parts", "expires_at", "input", "tool", "project", "age_seconds", "memory_bytes")  # fmt: skip
STATUSES = {exits.DONE, exits.FAILED, exits.UNREACHABLE, exits.NOT_FOUND, exits.LATER}


def told(server, words, capsys) -> tuple[int, str]:
    status = main([*words, "--url", server.url])
    said = capsys.readouterr()
    assert said.out or said.err
    return status, said.err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reply_of_the_wrong_shape(command, capsys):
    replies = [dict.fromkeys(KEYS, wrong) for wrong in WRONG]
    replies += [{name: [dict.fromkeys(PARTS, wrong)] for name in KEYS} for wrong in WRONG]
    replies += [*WRONG]
    for reply in replies:
        with lying(answer(200, reply)) as server:
            assert told(server, COMMANDS[command], capsys)[0] in STATUSES, reply


@pytest.mark.parametrize("kind", ["tool_use", "tool_result", "status", "approval", "approval_resolved", "error", "replace", "done", "usage", "todo", "subagent", "turn", None])  # fmt: skip
def test_a_frame_of_the_wrong_shape(kind, capsys):
    names = ("id", "name", "input", "content", "is_error", "duration_ms", "status", "kind", "tool", "questions", "plan", "decision", "text", "position", "files_changed", "model", "total_cost_usd", "message", "reason", "suggestions")  # fmt: skip
    frames = [{"type": kind, **dict.fromkeys(names, wrong)} for wrong in WRONG]
    with lying(stream(*frames, token("x"), {**DONE, **{each: [3] for each in names}})) as server:
        assert told(server, ["ask", "why?", "--no-approvals"], capsys)[0] in STATUSES


def test_an_error_is_told_to_programs_too(capsys):
    refused = {"detail": {"error": "no such session", "code": "session_not_found"}}
    with lying(answer(404, refused, Retry_After="3", X_Request_ID="r")) as server:
        assert main(["messages", "p", "--json", "--url", server.url]) == exits.NOT_FOUND
    said = capsys.readouterr()
    facts = {"error": "no such session", "code": "session_not_found", "status": 404}
    assert json.loads(said.out) == {"error": {**facts, "retry_after": 3.0, "request_id": "r"}}
    assert said.err.startswith("error: no such session (session_not_found)\n")
