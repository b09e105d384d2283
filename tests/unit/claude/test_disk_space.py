"""A disk without room is a reason not to be ready."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cowork.claude import disk_space as disk_space_module
from cowork.claude.disk_space import DiskSpace
from cowork.runtime.unix_user import UnixUser


@pytest.fixture
def disk(tmp_path):
    """A file system of one mebibyte."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or umount is None:
        pytest.skip("only root can mount a small disk")
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run([umount, str(place)], check=True)


def test_fault_t9_a_full_disk_is_named_until_there_is_room_again(disk, monkeypatch):
    monkeypatch.setattr(disk_space_module, "MAX_AGE_S", -1.0)
    disk_space = DiskSpace({"the workspace": disk / "made" / "later"}, None)
    assert disk_space.reasons() == []
    filler = disk / "filler"
    filler.write_bytes(b"x" * 30 * 2**20)
    assert disk_space.reasons() == ["the disk of the workspace is full"]
    filler.unlink()
    assert disk_space.reasons() == []


def test_it_is_not_looked_at_for_every_question(tmp_path, monkeypatch):
    disk_space = DiskSpace({"the workspace": tmp_path}, None)
    assert disk_space.reasons() == []
    monkeypatch.setattr(disk_space_module, "MIN_FREE_BYTES", 2**62)
    assert disk_space.reasons() == []


def test_a_folder_that_the_clis_user_cannot_write_is_named(tmp_path):
    tmp_path.chmod(0o700)
    user = UnixUser("nobody", 65534, 65534, Path("/"), "/bin/sh", frozenset())
    assert DiskSpace({"Claude's folder": tmp_path}, user).reasons() == [
        "Claude's folder cannot be written"
    ]
