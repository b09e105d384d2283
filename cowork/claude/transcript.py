"""Looks whether the CLI has written a turn down: where its disk is full it answers all the same."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path

# A directory's name that is longer is cut to this by the CLI, and a hash of its own put behind.
_NAME_LIMIT = 200


class Transcripts:
    """The files that the CLI keeps its sessions in: `<config>/projects/<directory>/<id>.jsonl`."""

    def __init__(self, config: Path) -> None:
        self._projects = config / "projects"

    def size(self, cwd: str, session_id: str) -> int | None:
        """Bytes of a session's transcript; None where there is none, or it is kept elsewhere."""
        path = self._path(cwd, session_id)
        try:
            return None if path is None else os.stat(path).st_size  # noqa: PTH116 - with each turn
        except OSError:
            return None

    def lacks_turn(self, cwd: str, session_id: str, before: int | None) -> bool:
        """Whether a turn that was answered is not in the transcript, which had `before` bytes.

        It has grown by whole lines otherwise.  Where it is not found nothing is missing: a CLI
        that keeps it elsewhere keeps it, and one that has none says so when it is resumed.
        """
        path = self._path(cwd, session_id)
        try:
            if path is None or (size := os.stat(path).st_size) <= (before or 0):  # noqa: PTH116
                return path is not None
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123
                file.seek(size - 1)
                return file.read(1) != b"\n"
        except OSError:
            return False

    def _path(self, cwd: str, session_id: str) -> str | None:
        name = _name(cwd)
        file = f"{session_id}.jsonl"
        if len(name) <= _NAME_LIMIT:
            return f"{self._projects}/{name}/{file}"
        found = self._projects.glob(f"{name[:_NAME_LIMIT]}-*/{file}")
        return next(map(str, found), None)


@lru_cache(maxsize=1024)
def _name(cwd: str) -> str:
    """`cwd` as the CLI names it: what is no letter or digit of ASCII is a `-`."""
    cwd = os.path.realpath(cwd)
    # Two for one outside the basic plane: JavaScript counts halves.
    return re.sub(r"[^a-zA-Z0-9]", lambda found: "--" if found[0] > "\uffff" else "-", cwd)
