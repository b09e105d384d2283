"""A short piece of the load that `make soak` puts on a server for ten minutes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import ROOT

pytestmark = pytest.mark.usefixtures("real_claude")


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
    }
