"""The folder in which the workers behind one port tell each other what they have counted.

Made by gunicorn's master, since it outlives every worker, and removed when that ends; what a
master that was killed has left, the next one removes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from cowork.claude import orphans

PREFIX = "cowork-metrics-"


class MetricsFolder:
    """`path` is None outside of a server that has made one."""

    def __init__(self) -> None:
        self.path: Path | None = None

    def create(self) -> str | None:
        """Make it; why it cannot be, or None.  In the master."""
        base = Path(tempfile.gettempdir())
        try:
            _remove_left(base)
            self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{_own_name()}-", dir=base))
        except OSError as fault:
            return f"no metrics of several workers: {base} cannot be written: {fault.strerror}"
        return None

    def remove(self) -> None:
        """In the master, at its end."""
        if self.path is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            self.path = None


def _own_name() -> str:
    return orphans.process_identity().replace("/", "_")


def _remove_left(base: Path) -> None:
    """Remove the folders of masters that live no more; only ours, and no links."""
    for path in base.glob(f"{PREFIX}*"):
        name = path.name.removeprefix(PREFIX).rpartition("-")[0].replace("_", "/")
        if _is_ours(path) and orphans.is_dead(name):
            shutil.rmtree(path, ignore_errors=True)


def _is_ours(path: Path) -> bool:
    try:
        return not path.is_symlink() and path.stat().st_uid == os.geteuid()
    except OSError:
        return False


# Of this server, whose workers inherit it.
metrics_folder = MetricsFolder()
