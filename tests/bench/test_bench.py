"""`python -m bench` runs, and tells what was reached."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.fake import Fake
from tests.serving import ROOT


def bench(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=50,
    )


def test_a_quick_run_measures_and_leaves_nothing(
    built: Fake,  # noqa: ARG001 - without a compiler it would measure another fake
    tmp_path: Path,
) -> None:
    found = tmp_path / "found.json"
    run = bench("--quick", "answers", "--json", found)
    # 1 says that a bar was not reached, as on any busy machine.
    assert run.returncode in (0, 1), run.stderr.decode()
    for complaint in (b"Python fake", b"left process", b"was killed"):
        assert complaint not in run.stdout, run.stdout.decode()
    (measure,) = json.loads(found.read_text())["answers"]["measures"]
    assert measure["bar"] in run.stdout.decode()
    assert float(measure["reached"].replace(" ", "")) > 0


def test_a_suite_that_is_none_is_refused() -> None:
    run = bench("sideways")
    assert run.returncode == 2
    assert b"sideways" in run.stderr
