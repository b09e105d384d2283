"""Whether there is room for what is to be written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cowork.claude.disk_space import MIN_FREE_BYTES
from cowork.operations.errors import OperationFailed

# Files take whole blocks, folders some too.
_SHARE = 1.05


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(each for each in (path, *path.parents) if each.exists())


def check_room(wanted: Mapping[Path, int]) -> None:
    """Raise `OperationFailed` where a disk has no room for the bytes that go there."""
    disks: dict[int, tuple[Path, int]] = {}
    for path, size in wanted.items():
        there = existing(path)
        first, sum_ = disks.get(there.stat().st_dev, (there, 0))
        disks[there.stat().st_dev] = first, sum_ + size
    for there, size in disks.values():
        found = os.statvfs(there)
        free, needed = found.f_bavail * found.f_frsize, round(size * _SHARE) + MIN_FREE_BYTES
        if free < needed:
            raise OperationFailed(
                f"no room: {needed >> 20} MiB are needed in {there}, {free >> 20} MiB are free"
            )
