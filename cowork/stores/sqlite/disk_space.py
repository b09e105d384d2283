"""Whether the SQLite store's disk has room."""

from __future__ import annotations

import os
from pathlib import Path

from cowork.errors import StoreUnavailable

# Less free space than this is as good as none.
MIN_FREE_BYTES = 4 * 2**20


def check_room(folder: Path) -> None:
    """What fits into the file's own pages would not tell that its disk is full."""
    found = os.statvfs(folder)
    if found.f_bavail * found.f_frsize < MIN_FREE_BYTES:
        raise StoreUnavailable("the store's disk is full", retry_after=5)
