"""The skills that the CLI lists: told by whatever process is at hand, asked for where need be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from cowork.errors import CoworkError

# How often at most the CLI is asked again for a skill that nobody knows; seconds.
ASK_AGAIN = 30.0


class Skills:
    """What is known of them; `ask` finds out for a directory, in about a second.

    They differ between directories only where project settings are read (`per_directory`).
    `bundled` finds those that the CLI brings along, None where those may be called too; whether
    one of such a name is the user's own, `is_own` says.
    """

    def __init__(
        self,
        ask: Callable[[str], tuple[str, ...]],
        *,
        per_directory: bool,
        bundled: Bundled | None = None,
        is_own: Callable[[str, str], bool] = lambda _name, _cwd: False,
    ) -> None:
        self._ask = ask
        self._per_directory = per_directory
        self._bundled = bundled
        self._is_own = is_own
        self._asking = threading.Lock()
        self._known: dict[str, frozenset[str]] = {}
        self._asked: dict[str, float] = {}
        self._failed: dict[str, tuple[float, CoworkError]] = {}

    def saw(self, cwd: str, skills: tuple[str, ...] | None) -> None:
        """A process has listed the skills it knows in `cwd`."""
        if skills is not None:
            self._known[self._key(cwd)] = frozenset(skills)

    def forget(self) -> None:
        """Another CLI is in use, which may have others."""
        self._known.clear()
        self._asked.clear()

    def has(self, name: str, cwd: str) -> bool:
        """Whether `name` may be called in `cwd`; raises what asking raises.

        One that is not known may have been installed since, so the CLI is asked again.
        """
        if not self._is_listed(name, cwd):
            return False
        if self._bundled is None or self._is_own(name, cwd):
            return True
        return name not in self._bundled.names()

    def _is_listed(self, name: str, cwd: str) -> bool:
        if name in self._known.get(self._key(cwd), ()):
            return True  # without waiting for somebody else's question
        begun = time.monotonic()
        with self._asking:
            if name not in self._known.get(self._key(cwd), ()) and self._may_ask(cwd):
                self._find_out(cwd, begun)
        return name in self._known.get(self._key(cwd), ())

    def _find_out(self, cwd: str, begun: float) -> None:
        """Ask; who has waited while another one asked in vain hears the same at once.

        Each would else wait for all before it, of whatever owner.
        """
        key = self._key(cwd)
        failed, fault = self._failed.get(key, (float("-inf"), None))
        if fault is not None and failed >= begun:
            raise fault
        try:
            self.saw(cwd, self._ask(cwd))
        except CoworkError as again:
            self._failed[key] = time.monotonic(), again
            raise
        self._failed.pop(key, None)
        self._asked[key] = time.monotonic()

    def _may_ask(self, cwd: str) -> bool:
        asked = self._asked.get(self._key(cwd), float("-inf"))
        return self._key(cwd) not in self._known or time.monotonic() - asked >= ASK_AGAIN

    def _key(self, cwd: str) -> str:
        return cwd if self._per_directory else ""


class Bundled:
    """The skills that the CLI brings along: what it lists where there is nothing of a user's.

    `ask` finds out, in about a second; once for each CLI that `generation` counts.
    """

    def __init__(self, ask: Callable[[], tuple[str, ...]], generation: Callable[[], int]) -> None:
        self._ask = ask
        self._generation = generation
        self._asking = threading.Lock()
        self._known: tuple[int, frozenset[str]] | None = None

    def names(self) -> frozenset[str]:
        """They; raises what asking raises."""
        generation, known = self._generation(), self._known
        if known is not None and known[0] == generation:
            return known[1]
        with self._asking:
            if self._known is None or self._known[0] != generation:
                self._known = generation, frozenset(self._ask())
            return self._known[1]
