"""A tenth of the loop that `make faults` runs whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import ROOT

KINDS = {
    "approvals",
    "disconnects",
    "kills",
    "cuts",
    "pairs",
    "partitions",
    "retries",
    "workers",
    "interrupts",
    "spares",
    "crashes",
    "deliveries",
    "blackholes",
    "evictions",
    "steering",
}


@pytest.mark.timeout(800)
def test_after_a_tenth_of_all_faults_nothing_is_left_and_nothing_is_wrong(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    loop = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--seed=7", "--scale=0.1", f"--report={report}"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=780,
    )
    assert loop.returncode == 0, loop.stdout.decode() + loop.stderr.decode()
    found = json.loads(report.read_text())
    assert {row["kind"] for row in found["rows"]} == KINDS
    assert all(row["done"] for row in found["rows"])
    assert found["left"] == 0
