"""The skills that the CLI lists: told by whatever process is at hand, asked for where need be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from cowork.errors import CoworkError

# How often at most the CLI is asked again for a skill that nobody knows; seconds.
ASK_AGAIN = 30.0

Found = TypeVar("Found")


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
        self._inquiries: dict[str, Inquiry[tuple[str, ...]]] = {}

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
        key = self._key(cwd)
        inquiry = self._inquiries.setdefault(key, Inquiry())
        self.saw(cwd, inquiry.ask(lambda: self._ask(cwd), begun))
        self._asked[key] = time.monotonic()

    def _may_ask(self, cwd: str) -> bool:
        asked = self._asked.get(self._key(cwd), float("-inf"))
        return self._key(cwd) not in self._known or time.monotonic() - asked >= ASK_AGAIN

    def _key(self, cwd: str) -> str:
        return cwd if self._per_directory else ""


class Inquiry(Generic[Found]):
    """Asks, one caller at a time: who has waited while another asked in vain hears the same.

    Each would else wait for all before it, of whatever owner.
    """

    def __init__(self) -> None:
        self._failed = float("-inf")
        self._fault: CoworkError | None = None

    def ask(self, ask: Callable[[], Found], begun: float) -> Found:
        """What `ask` gives; raises what it does, or did since `begun` (monotonic)."""
        if self._fault is not None and self._failed >= begun:
            raise self._fault
        try:
            found = ask()
        except CoworkError as fault:
            self._failed, self._fault = time.monotonic(), fault
            raise
        self._fault = None
        return found


class Bundled:
    """The skills that the CLI brings along: what it lists where there is nothing of a user's.

    `ask` finds out, in about a second; once for each CLI that `generation` counts.
    """

    def __init__(self, ask: Callable[[], tuple[str, ...]], generation: Callable[[], int]) -> None:
        self._ask = ask
        self._generation = generation
        self._asking = threading.Lock()
        self._inquiry = Inquiry[tuple[str, ...]]()
        self._known: tuple[int, frozenset[str]] | None = None

    def names(self) -> frozenset[str]:
        """They; raises what asking raises."""
        generation, known = self._generation(), self._known
        if known is not None and known[0] == generation:
            return known[1]
        begun = time.monotonic()
        with self._asking:
            if self._known is None or self._known[0] != generation:
                self._known = generation, frozenset(self._inquiry.ask(self._ask, begun))
            return self._known[1]
