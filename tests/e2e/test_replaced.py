"""Another CLI takes the place of the one that runs, as an update does it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.replies import problem
from tests.e2e.environment import Stage, argv_of
from tests.serving import wait_for

pytestmark = pytest.mark.e2e


def test_fault_t12_an_update_under_a_running_server_is_used_for_the_next_question(
    staged: Callable[..., Stage], real_claude: str, tmp_path: Path
) -> None:
    """As npm does it, which swaps what a link leads to."""
    versions = [tmp_path / name for name in ("one", "two")]
    for version in versions:
        version.mkdir()
        claude = version / "claude"
        claude.write_text(f'#!/bin/sh\nexec "{real_claude}" "$@"\n')
        claude.chmod(0o755)
    link = tmp_path / "current"
    link.symlink_to(versions[0])
    stage = staged(CLAUDE_CLI_PATH=str(link / "claude"), COWORK_SPARE_PROCESSES="1")
    first = stage.server.ask("[[say one]] alpha", "p").json()
    other = stage.server.ask("[[say one]]", "other").json()
    before = stage.cli(first["session_id"]), stage.cli(other["session_id"])
    swapped = tmp_path / "swapped"
    swapped.symlink_to(versions[1])
    swapped.replace(link)
    again = stage.server.ask("[[count]]", "p").json()
    assert again["message"].startswith('I see 2 questions: "[[say one]] alpha"')
    assert again["session_id"] == first["session_id"]
    assert "session_recovered" not in again
    wait_for(lambda: not set(before) & set(stage.clis()), 20, "the end of what idled")
    if not any(again["session_id"] in " ".join(argv) for argv in stage.clis().values()):
        # The swap was noticed during the turn: its process ended with it.
        stage.server.ask("[[say more]]", "p")
    now = stage.cli(again["session_id"])
    assert f"--resume={first['session_id']}" in argv_of(now)
    wait_for(lambda: stage.server.get("/health/ready").status_code == 200, what="readiness")
    # And it goes on where nothing is there for a while.
    link.unlink()
    assert stage.server.get("/health/ready").status_code == 503
    assert stage.server.ask("[[say still]]", "p").json()["message"] == "still"
    assert stage.cli(again["session_id"]) == now
    link.symlink_to(versions[1])
    wait_for(lambda: stage.server.get("/health/ready").status_code == 200, 20, "readiness")


@pytest.mark.skipif(os.geteuid() != 0, reason="the CLI refuses only root")
def test_fault_t12_what_the_cli_refuses_to_root_is_told_at_start(
    staged: Callable[..., Stage],
) -> None:
    refused = staged(COWORK_PERMISSION_MODE="bypassPermissions")
    assert "refuses COWORK_PERMISSION_MODE=bypassPermissions" in refused.server.log.read_text()
    assert refused.server.get("/health/ready").status_code == 503
    problem(refused.server.ask("hi"), 503, "claude_unavailable")
    allowed = staged(
        COWORK_PERMISSION_MODE="bypassPermissions",
        COWORK_CLI_ENV="IS_SANDBOX",
        IS_SANDBOX="1",
    )
    allowed.answers_again()
    wait_for(lambda: allowed.server.get("/health/ready").status_code == 200, what="readiness")
