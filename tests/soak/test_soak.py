"""A short piece of the load that `make soak` puts on a server for ten minutes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import ROOT
from tests.soak.tally import KILL_IS_FELT_S, Tally

CASES = [
    ("p", 5.0, "claude_failed", True),
    ("p", 5.0, "claude_unavailable", True),
    (None, 5.0, "claude_failed", True),
    ("p", 0.5, "claude_failed", True),
    ("p", 0.5 - KILL_IS_FELT_S, "claude_failed", False),
    ("p", 9.5, "claude_failed", False),
    ("q", 5.0, "claude_failed", False),
    ("p", 5.0, "internal", False),
    ("p", 5.0, "no last frame", False),
]


@pytest.mark.parametrize(("killed", "at", "code", "explained"), CASES)
def test_a_failure_is_explained_by_a_kill_that_it_can_be_owed_to(
    killed: str | None, at: float, code: str, explained: bool
) -> None:
    tally = Tally(kills=[(killed, at)])
    assert (tally.explanation("p", 1.0, 9.0, code) is not None) is explained


@pytest.mark.usefixtures("real_claude")
@pytest.mark.timeout(600)
def test_after_half_a_minute_of_mixed_load_the_worker_holds_what_it_held(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    load = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--seed=7", "--minutes=0.5", f"--report={report}"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=590,
    )
    assert load.returncode == 0, load.stdout.decode() + load.stderr.decode()
    (row,) = json.loads(report.read_text())["rows"]
    assert row["outcomes"].keys() == {
        "asks",
        "streams",
        "leaves",
        "interrupts",
        "deletes",
        "kills",
        "changes",
        "looks",
        "completes",
        "converses",
        "messages",
        "responds",
        "chats",
    }
