"""Asks a process of a throwaway session which skills the CLI has."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import gettempdir

from cowork.claude.process.launcher import Launcher, Throwaway
from cowork.claude.process.process import ClaudeProcess
from cowork.claude.skills import Bundled, Skills
from cowork.errors import ClaudeUnavailable
from cowork.runtime.ids import new_hex

ThrowawayProcess = Callable[[str, Throwaway], AbstractContextManager[ClaudeProcess]]


class SkillListing:
    """What `Skills` asks; `throwaway_process` gives a process in a directory, and ends it."""

    def __init__(self, launcher: Launcher, throwaway_process: ThrowawayProcess) -> None:
        self._launcher = launcher
        self._throwaway_process = throwaway_process

    def skills(self, *, bundled_skills: bool) -> Skills:
        """The skills that may be called; those that the CLI brings along only where they may."""
        bundled = None if bundled_skills else Bundled(self._bundled, self._launcher.generation)
        return Skills(
            self._ask,
            per_directory=self._launcher.launch_config.trust_projects,
            bundled=bundled,
            is_own=self._is_own,
        )

    def _ask(self, cwd: str, throwaway: Throwaway | None = None) -> tuple[str, ...]:
        with self._throwaway_process(cwd, throwaway or Throwaway()) as process:
            skills = process.list_skills()
        if skills is None:
            raise ClaudeUnavailable("the Claude CLI did not say which skills it has")
        return skills

    def _bundled(self) -> tuple[str, ...]:
        """What a process says that finds nothing of the user's."""
        empty = str(Path(gettempdir()) / f"cowork-{new_hex()}")
        try:
            return self._ask(empty, Throwaway(config=empty))
        finally:
            shutil.rmtree(empty, ignore_errors=True)

    def _is_own(self, skill: str, cwd: str) -> bool:
        """Whether the skill is a folder of the user's, or of a project's that is trusted."""
        folders = [self._launcher.config_folder()]
        if self._launcher.launch_config.trust_projects:
            folders.append(Path(cwd, ".claude"))
        return any((folder / "skills" / skill).is_dir() for folder in folders)
