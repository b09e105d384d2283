"""Where the CLI works: one directory for all projects, or one for each."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from cowork.errors import ClaudeUnavailable
from cowork.model import Project
from cowork.runtime.unix_user import UnixUser, make_folder


class Workspace:
    """The operator's choice of directories; a project's own is made when a session begins in it."""

    def __init__(
        self, root: Path, *, per_project: bool = False, cli_user: UnixUser | None = None
    ) -> None:
        self._root = root
        self._cli_user = cli_user
        self._per_project = per_project

    def cwd(self, project: Project) -> str:
        """The directory a new session of this project works in."""
        return str(self._root / directory_name(project) if self._per_project else self._root)

    def check(self) -> None:
        """Raise `ClaudeUnavailable` where the root is gone.

        It is made at the start alone: made again, it would be empty, and sessions that worked in
        it would go on there.
        """
        if not os.path.isdir(self._root):  # noqa: PTH112 - unlike Path's it never raises
            raise ClaudeUnavailable(f"the workspace is gone: {self._root}", retry_after=5)

    def make(self, project: Project) -> str:
        """Make the directory of a project whose session comes from another machine.

        Raises `ClaudeUnavailable`.
        """
        self.check()
        cwd = self.cwd(project)
        try:
            make_folder(Path(cwd), self._cli_user)
        except OSError as fault:
            raise ClaudeUnavailable(
                f"the project's directory cannot be made: {fault.strerror}", retry_after=5
            ) from fault
        return cwd

    def still_has(self, cwd: str) -> bool:
        """Whether a session's directory is there, which may be one of an earlier workspace.

        Raises `ClaudeUnavailable` where it is not because all of today's workspace is gone: its
        sessions go on when it is back.
        """
        if os.path.isdir(cwd):  # noqa: PTH112
            return True
        if self._root in (Path(cwd), *Path(cwd).parents):
            self.check()
        return False


def directory_name(project: Project) -> str:
    """A directory's name for a project: safe whatever the name holds, and no two alike.

    Readable where the name is (`my-app-1f0c...`); the hash covers owner and exact name.
    """
    digest = hashlib.sha256(f"{project.owner}\0{project.name}".encode()).hexdigest()[:32]
    readable = re.sub(r"[^a-z0-9]+", "-", project.name.lower()).strip("-")[:40].strip("-")
    return f"{readable}-{digest}" if readable else digest
