"""Sessions that the real CLI cannot go on with, or forgets a turn of, go on all the same."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.replies import problem
from tests.e2e.environment import Stage, kill

pytestmark = pytest.mark.e2e

DISK = 3 * 2**20


def test_fault_t3_a_session_that_the_model_refuses_is_begun_anew(stage: Stage) -> None:
    ask = stage.server.ask
    assert ask("my name is Ada", "refused").status_code == 200
    old = ask("[[poison]] look at this", "refused").json()["session_id"]
    said = ask("[[count]] who am I?", "refused").json()
    assert said["session_recovered"] is True
    assert said["session_id"] != old
    assert "who am I?" in said["message"]
    assert "my name is Ada" in str(stage.model.requests[-1]["messages"])
    again = ask("[[say still here]]", "refused").json()
    assert again["message"] == "still here"
    assert "session_recovered" not in again


def test_fault_t3_a_question_that_is_refused_in_a_new_session_too_costs_none(stage: Stage) -> None:
    session = stage.server.ask("[[say one]]", "kept").json()["session_id"]
    problem(stage.server.ask("[[status 413]]", "kept"), 502, "session_unusable")
    said = stage.server.ask("[[say three]]", "kept").json()
    assert (said["message"], said["session_id"]) == ("three", session)
    problem(stage.server.ask("[[status 400]]", "never asked before"), 502, "claude_api_error")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or umount is None:
        pytest.skip("only root can mount a small disk")
    place = tmp_path / "disk"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)]
    if subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run([umount, "--lazy", str(place)], check=True)


def test_fault_t9_a_turn_that_found_no_room_is_told_to_the_next_process(
    disk: Path, staged: Callable[..., Stage]
) -> None:
    stage = staged(CLAUDE_CONFIG_DIR=str(disk / "config"))
    session = stage.server.ask("[[say one]]").json()["session_id"]
    filler = disk / "filler"
    _fill(filler)
    said = stage.server.ask("[[say hello]] my name is Ada").json()
    assert said["message"] == "hello"
    reasons = stage.server.get("/health").json()["reasons"]
    assert "the disk of Claude's folder is full" in reasons
    filler.unlink()
    kill(stage.cli(session))
    said = stage.server.ask("[[say yes]] who am I?").json()
    assert said["message"] == "yes"
    assert said["session_recovered"] is True
    assert "my name is Ada" in str(stage.model.requests[-1]["messages"])


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as filler:
        try:
            while filler.write(b"x" * 4096):
                pass
        except OSError:
            return
