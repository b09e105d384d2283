"""What lies in the workspace is data: no hook of it runs, no server of it starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.environment import Stage

pytestmark = pytest.mark.e2e

MODEL = "chosen-by-the-project"


def set_traps(workspace: Path, caught: Path) -> None:
    """Everything that a project can bring along to be run; each leaves a file in `caught`."""
    caught.mkdir()
    (workspace / ".claude").mkdir()
    hooks = {
        event: [{"hooks": [{"type": "command", "command": f"touch {caught}/{event}"}]}]
        for event in ("SessionStart", "UserPromptSubmit", "Stop")
    }
    settings = {"hooks": hooks, "env": {"ANTHROPIC_MODEL": MODEL}}
    for name in ("settings.json", "settings.local.json"):
        (workspace / ".claude" / name).write_text(json.dumps(settings))
    servers = {"trap": {"command": "touch", "args": [f"{caught}/mcp"]}}
    (workspace / ".mcp.json").write_text(json.dumps({"mcpServers": servers}))
    (workspace / "CLAUDE.md").write_text("a word of the project's own")


def test_t08_what_a_project_brings_along_is_not_run(staged: Callable[..., Stage]) -> None:
    stage = staged()
    caught = stage.folder / "caught"
    set_traps(stage.workspace, caught)
    stage.answers_again()
    stage.answers_again()
    assert [path.name for path in caught.iterdir()] == []
    assert {body["model"] for body in stage.model.requests}.isdisjoint({MODEL})
    assert "a word of the project's own" not in json.dumps(stage.model.requests)


def test_the_traps_catch_a_server_that_trusts_its_projects(staged: Callable[..., Stage]) -> None:
    stage = staged(COWORK_TRUST_PROJECTS="true")
    caught = stage.folder / "caught"
    set_traps(stage.workspace, caught)
    stage.answers_again()
    assert "SessionStart" in {path.name for path in caught.iterdir()}
    assert {body["model"] for body in stage.model.requests} == {MODEL}
