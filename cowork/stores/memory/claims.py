"""The memory store's part for claims; has no lock."""

from __future__ import annotations

from itertools import count

from cowork.model import Claim, Project


class MemoryClaims:
    """Of each project that a turn holds: the newest claim, and the one that was given out."""

    def __init__(self) -> None:
        self._of: dict[Project, tuple[Claim, Claim]] = {}
        self._numbers = count(1)

    def claim(self, project: Project) -> Claim | None:
        if project in self._of:
            return None
        claim = Claim(project, next(self._numbers))
        self._of[project] = claim, claim
        return claim

    def is_newest(self, claim: Claim) -> bool:
        return self._of.get(claim.project, (None, None))[0] == claim

    def void(self, project: Project) -> None:
        """Refuse whatever the turn that holds the project writes from now on; it stays busy."""
        if project in self._of:
            self._of[project] = Claim(project, next(self._numbers)), self._of[project][1]

    def release(self, claim: Claim) -> None:
        _, given = self._of.get(claim.project, (None, None))
        if given == claim:
            del self._of[claim.project]
