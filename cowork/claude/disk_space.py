"""Whether there is room where the CLI writes: it answers all the same, and forgets."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from cowork.runtime.unix_user import UnixUser, can_access

# A turn's transcript takes some hundred kilobytes, an answer's files more; bytes.
MIN_FREE_BYTES = 16 * 2**20
MAX_AGE_S = 5.0


class DiskSpace:
    """Looks at some folders, each with a name for a person, for the user who writes there."""

    def __init__(self, folders: Mapping[str, Path], cli_user: UnixUser | None) -> None:
        self._folders = folders
        self._cli_user = cli_user
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._found: list[str] = []

    def reasons(self) -> list[str]:
        """Why the CLI could not write, as of the last seconds; empty where it could."""
        with self._lock:
            if time.monotonic() - self._looked > MAX_AGE_S:
                self._looked = time.monotonic()
                found = (self._fault(name, path) for name, path in self._folders.items())
                self._found = [fault for fault in found if fault is not None]
            return self._found

    def _fault(self, name: str, path: Path) -> str | None:
        there = next((each for each in (path, *path.parents) if os.path.isdir(each)), Path("/"))  # noqa: PTH112 - never raises
        try:
            found = os.statvfs(there)
        except OSError as fault:
            return f"{name} cannot be looked at: {fault.strerror}"
        if found.f_blocks and found.f_bavail * found.f_frsize < MIN_FREE_BYTES:
            return f"the disk of {name} is full"
        if found.f_files and not found.f_favail:
            return f"the disk of {name} has no room for another file"
        if found.f_flag & os.ST_RDONLY or not self._may_write(there):
            return f"{name} cannot be written"
        return None

    def _may_write(self, path: Path) -> bool:
        if self._cli_user is None:
            return os.access(path, os.W_OK | os.X_OK)
        return can_access(self._cli_user, path, os.W_OK | os.X_OK)
