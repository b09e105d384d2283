"""A small part of the tour that `make attack` takes whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import ROOT

STOPS = {"everything", "census", "pages", "schema", "names", "slow", "hold", "canaries"}
SCALE = "0.075"  # 150 cases of schemathesis


@pytest.mark.timeout(180)
def test_t12_t16_an_attackers_tour_finds_nothing(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    tour = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.attack",
            "--seed=7",
            f"--scale={SCALE}",
            f"--report={report}",
        ],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=170,
    )
    assert tour.returncode == 0, tour.stdout.decode() + tour.stderr.decode()
    rows = {row["kind"]: row for row in json.loads(report.read_text())}
    assert rows.keys() == STOPS
    assert all(row["done"] for row in rows.values())
    assert rows["schema"]["done"] >= 150
    # Generous: the machine has other things to do.
    assert rows["slow"]["facts"]["live_p50_ms"] < 500
