"""The skills that the CLI lists, asked for once a directory and server."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Skills:
    """What is known of them; `ask` finds out for a directory, in about a second.

    They differ between directories only where project settings are read (`per_directory`).
    """

    def __init__(self, ask: Callable[[str], tuple[str, ...]], *, per_directory: bool) -> None:
        self._ask = ask
        self._per_directory = per_directory
        self._asking = threading.Lock()
        self._known: dict[str, frozenset[str]] = {}

    def saw(self, cwd: str, skills: tuple[str, ...] | None) -> None:
        """A process has listed the skills it knows in `cwd`."""
        if skills is not None:
            self._known[self._key(cwd)] = frozenset(skills)

    def of(self, cwd: str) -> frozenset[str]:
        """Those of `cwd`; raises what asking raises."""
        with self._asking:
            if self._key(cwd) not in self._known:
                self.saw(cwd, self._ask(cwd))
        return self._known[self._key(cwd)]

    def _key(self, cwd: str) -> str:
        return cwd if self._per_directory else ""
