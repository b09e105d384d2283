"""When the next chat message may go, and of which project.

A failure closes the road for everybody (`Pause`: a first wait, doubling to the longest); then one
message at a time tries it, each time another project's, until one gets an answer.  A message
that fails while the road is open also makes its own project rest, so that one that always fails
does not close the road again and again.

Nothing here is thread-safe, waits or knows the time: the outbox holds its lock and says `now`
(seconds, monotonic).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count

from cowork.model import Project


@dataclass(slots=True)
class Pause:
    """A wait that doubles with each failure; jittered, so that servers do not retry in step."""

    first: float
    longest: float
    jitter: Callable[[], float]
    length: float = 0.0
    until: float = 0.0

    def grow(self, now: float, at_least: float = 0.0) -> None:
        self.length = min(self.length * 2 or self.first, self.longest)
        self.until = now + max(self.length * (0.5 + self.jitter() / 2), at_least)


class Road:
    """The way to the Chat API; `reachable` is None until a first message was answered or failed."""

    def __init__(self, new_pause: Callable[[], Pause]) -> None:
        self.reachable: bool | None = None
        self._new_pause = new_pause
        self._pause = new_pause()
        self._probe: Project | None = None
        self._rests: dict[Project, Pause] = {}
        self._tried: dict[Project, float] = {}
        self._choices = count(1)
        self._chosen: dict[str, int] = {}

    def opens_in(self, now: float) -> float | None:
        """Seconds until a message may go; None while one is finding out for all."""
        if self._probe is not None:
            return None
        return max(self._pause.until - now, 0.0)

    def choose(self, waiting: Iterable[Project], busy: set[Project], now: float) -> Project | None:
        """Whose message to send now: the project's tried longest ago, then the first waiting.

        Owners take turns, and the one of whom least is under way goes first: neither one's many
        messages nor its slow ones hold up the others'.
        """
        free = [
            project
            for project in waiting
            if project not in busy and self._rests_until(project) <= now
        ]
        if not free:
            return None
        under_way = Counter(project.owner for project in busy)

        def place(project: Project) -> tuple[float, int, int]:
            owner = project.owner
            return self._tried.get(project, 0.0), under_way[owner], self._chosen.get(owner, 0)

        chosen = min(free, key=place)
        self._chosen[chosen.owner] = next(self._choices)
        if self.reachable is False:
            self._probe = chosen
        return chosen

    def spared(self, project: Project) -> None:
        """The chosen project turned out to have no message."""
        if self._probe == project:
            self._probe = None

    def rest_ends_in(self, now: float) -> float | None:
        """Seconds until the first resting project may try again; None where none rests."""
        ends = [rest.until - now for rest in self._rests.values() if rest.until > now]
        return min(ends, default=None)

    def answered(self, project: Project) -> None:
        """Note that a message got an answer."""
        self.reachable, self._probe = True, None
        self._pause = self._new_pause()
        self._rests.pop(project, None)
        self._tried.clear()

    def asked_later(self, project: Project, now: float, wait: float) -> None:
        """Note that a message got an answer, but is to be sent again in `wait` seconds."""
        self.answered(project)
        rest = self._rests[project] = self._new_pause()
        rest.grow(now, wait)

    def reopen(self) -> None:
        """Let the next message go at once: what stood in the way may be gone."""
        self._pause.until = 0.0
        self._rests.clear()

    def failed(self, project: Project, now: float, retry_after: float) -> bool:
        """Note that a message did not get through; True where that tells how the road is."""
        self._tried[project] = now
        if self.reachable is not False:
            self._rests.setdefault(project, self._new_pause()).grow(now)
        elif self._probe != project:
            return False  # it was under way when the road closed
        self.reachable, self._probe = False, None
        self._pause.grow(now, retry_after)
        return True

    def forget_all_but(self, waiting: set[Project]) -> None:
        """Keep no notes on projects whose messages are gone."""
        for notes in (self._rests, self._tried):
            for project in notes.keys() - waiting:
                del notes[project]
        for owner in self._chosen.keys() - {project.owner for project in waiting}:
            del self._chosen[owner]

    def _rests_until(self, project: Project) -> float:
        rest = self._rests.get(project)
        return 0.0 if rest is None else rest.until
