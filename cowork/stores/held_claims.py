"""The claims that this process holds, as it knows itself.

A call to an unavailable store may have had its effect all the same: a claim that is ours there
and unknown here is one of those, and may be taken over.
"""

from __future__ import annotations

import threading

from cowork.model import Claim, Project


class HeldClaims:
    """At most one for each project."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[Project, Claim | None] = {}

    def reserve(self, project: Project) -> bool:
        """Whether nobody in this process holds the project or is about to; the caller now is."""
        with self._lock:
            if project in self._claims:
                return False
            self._claims[project] = None
            return True

    def settle(self, project: Project, number: int | None) -> Claim | None:
        """What came of a reservation: a claim of that number, or nothing."""
        with self._lock:
            if number is None:
                del self._claims[project]
                return None
            claim = self._claims[project] = Claim(project, number)
            return claim

    def has(self, project: Project) -> bool:
        with self._lock:
            return self._claims.get(project) is not None

    def let_go(self, claim: Claim) -> None:
        with self._lock:
            if self._claims.get(claim.project) == claim:
                del self._claims[claim.project]

    def all(self) -> list[Claim]:
        with self._lock:
            return [claim for claim in self._claims.values() if claim is not None]
