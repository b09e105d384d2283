"""What the real CLI keeps of a session is gone with it, wherever it was put."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.environment import Stage, kill
from tests.serving import frames, wait_for

pytestmark = pytest.mark.e2e

SECRET = "zephyr-quartz"
# Files of no one session, which hold bare ids and nothing that was said: of the session that was
# last, and of a process that was killed.
SHARED = ("config/.claude.json", "config/backups/", "config/plugins/store/", "config/sessions/")


def tool(name: str, **given: Any) -> str:
    return f"[[tool {name} {json.dumps(given)}]]"


def traces(stage: Stage, *ids: str, text: str = "\0") -> list[str]:
    """Files and folders outside the workspace that bear an id or a text, in name or content."""
    found = []
    for part in ("home", "config", "tmp"):
        for path in (stage.folder / part).rglob("*"):
            name = str(path.relative_to(stage.folder))
            said = f"{name} {_content(path)}"
            is_theirs = not name.startswith(SHARED) and any(each in said for each in ids)
            if is_theirs or text in said:
                found.append(name)
    return sorted(found)


def _content(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace") if path.is_file() else ""
    except FileNotFoundError:  # what is gone since is no trace
        return ""


@pytest.fixture
def stage(staged: Callable[..., Stage], tmp_path: Path) -> Stage:
    (tmp_path / "t").mkdir()
    stage = staged(
        TMPDIR=str(tmp_path / "t"),
        COWORK_PERMISSION_MODE="acceptEdits",
        COWORK_SLASH_COMMANDS="true",
        # Checkpoints are kept as well.
        CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING="1",
        COWORK_CLI_ENV="CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING",
    )
    (stage.folder / "tmp").symlink_to(tmp_path / "t")
    return stage


def busy(stage: Stage, project: str) -> str:
    """A session that has used what the CLI keeps things for; its id."""
    ask = stage.server.ask
    note = stage.workspace / f"{project}.txt"
    note.write_text(f"{SECRET} one\n")
    session_id: str = ask(f"[[say {SECRET}]] a", project).json()["session_id"]
    for asked in (
        tool("Read", file_path=str(note))
        + tool("Edit", file_path=str(note), old_string="one", new_string="two"),
        tool("Bash", command=f"seq 1 40000; echo {SECRET}"),
        tool(
            "Task", description="d", prompt=f"[[say {SECRET}]] b", subagent_type="general-purpose"
        ),
    ):
        assert ask(asked, project).status_code == 200
    return session_id


def kinds(found: list[str], session_id: str) -> set[str]:
    """The places in which there is something of the session's own name."""
    return {
        each.partition(f"/{session_id}")[0].split("/")[1]
        for each in found
        if f"/{session_id}" in each
    }


def test_nothing_that_the_cli_kept_outlives_a_deletion_and_nobody_elses_goes(stage: Stage) -> None:
    theirs = busy(stage, "other")
    before = traces(stage, theirs)
    mine = busy(stage, "mine")
    found = traces(stage, mine)
    # The test would notice nothing if the CLI kept nothing.
    assert kinds(found, mine) >= {
        "projects",
        "session-env",
        "file-history",
        f"claude-{os.getuid()}",
    }
    assert any("subagents" in each for each in found)
    assert any("tool-results" in each for each in found)
    assert stage.server.delete("/sessions/mine").json()["success"] is True
    assert traces(stage, mine) == []
    assert set(traces(stage, theirs)) >= set(before)
    assert (stage.workspace / "mine.txt").read_text() == f"{SECRET} two\n"
    assert (
        stage.server.ask("[[count]] c", "other").json()["message"].startswith("I see 5 questions")
    )
    assert stage.server.delete("/sessions/other").json()["success"] is True
    assert traces(stage, theirs, text=SECRET) == []
    assert stage.server.delete("/sessions/other").json()["success"] is False


def test_a_deletion_in_the_middle_of_a_turn_and_of_given_up_sessions_leaves_nothing_either(
    stage: Stage,
) -> None:
    first = stage.server.ask(f"[[say {SECRET}]] a", "p").json()["session_id"]
    second = stage.server.ask("/clear", "p").json()["session_id"]
    stage.server.ask(f"[[say {SECRET}]] b", "p")
    assert first != second
    (pid,) = stage.clis()
    kill(pid)
    wait_for(lambda: not stage.clis(), what="the end of its process")
    stage.transcript(second).unlink()
    healed = stage.server.ask(f"[[say {SECRET}]] c", "p").json()
    assert healed["session_recovered"] is True
    third = healed["session_id"]
    with stage.server.stream(f"[[delay 50]] [[words 500]] {SECRET}", "p") as reply:
        reading = frames(reply)
        next(reading)
        assert stage.server.delete("/sessions/p").json()["success"] is True
        assert list(reading)[-1].data["success"] is False
    wait_for(
        lambda: not traces(stage, first, second, third, text=SECRET), what="the end of its files"
    )
    stage.answers_again("p")
