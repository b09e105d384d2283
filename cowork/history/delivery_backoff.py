"""When the next chat message may be delivered, and of which project: a circuit breaker.

A failed delivery opens the circuit for all projects (exponential backoff).  Then one probe at a
time, round-robin over projects, until one gets an answer.  A delivery that fails while the
circuit is closed also backs off its own project, so that one that always fails does not open the
circuit again and again.

Nothing here is thread-safe, waits or knows the time: the relay holds its lock and says `now`
(seconds, monotonic).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import count

from cowork.model import Project
from cowork.runtime.backoff import Backoff


class DeliveryGate:
    """Gates deliveries to the Chat API; `reachable` is None until one was answered or failed."""

    def __init__(self, new_backoff: Callable[[], Backoff]) -> None:
        self.reachable: bool | None = None
        self._new_backoff = new_backoff
        self._backoff = new_backoff()
        self._probe: Project | None = None
        self._project_backoffs: dict[Project, Backoff] = {}
        self._tried: dict[Project, float] = {}
        self._choices = count(1)
        self._chosen: dict[str, int] = {}

    def retry_in(self, now: float) -> float | None:
        """Seconds until a message may go; None while one is finding out for all."""
        if self._probe is not None:
            return None
        return self._backoff.retry_in(now)

    def choose(self, waiting: Iterable[Project], busy: set[Project], now: float) -> Project | None:
        """Whose message to send now: the project's tried longest ago, then the first waiting.

        Owners take turns, and the one of whom least is under way goes first: neither one's many
        messages nor its slow ones hold up the others'.
        """
        free = [
            project
            for project in waiting
            if project not in busy and self._in_backoff_until(project) <= now
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

    def release_probe(self, project: Project) -> None:
        """The chosen project turned out to have no message."""
        if self._probe == project:
            self._probe = None

    def project_retry_in(self, now: float) -> float | None:
        """Seconds until the first project's backoff ends; None where none backs off."""
        ends = [each.until - now for each in self._project_backoffs.values() if each.until > now]
        return min(ends, default=None)

    def succeeded(self, project: Project) -> None:
        """Note that a message got an answer."""
        self.reachable, self._probe = True, None
        self._backoff = self._new_backoff()
        self._project_backoffs.pop(project, None)
        self._tried.clear()

    def postponed(self, project: Project, now: float, wait: float) -> None:
        """Note that a message got an answer, but is to be sent again in `wait` seconds."""
        self.succeeded(project)
        backoff = self._project_backoffs[project] = self._new_backoff()
        backoff.failed(now, wait)

    def reset(self) -> None:
        """Let the next message go at once: what stood in the way may be gone."""
        self._backoff.until = 0.0
        self._project_backoffs.clear()

    def failed(self, project: Project, now: float, retry_after: float) -> bool:
        """Note that a delivery failed; True where that opens the circuit, or keeps it open."""
        self._tried[project] = now
        if self.reachable is not False:
            self._project_backoffs.setdefault(project, self._new_backoff()).failed(now)
        elif self._probe != project:
            return False  # it was under way when the circuit opened
        self.reachable, self._probe = False, None
        self._backoff.failed(now, retry_after)
        return True

    def forget_all_but(self, waiting: set[Project]) -> None:
        """Keep no notes on projects whose messages are gone."""
        for notes in (self._project_backoffs, self._tried):
            for project in notes.keys() - waiting:
                del notes[project]
        for owner in self._chosen.keys() - {project.owner for project in waiting}:
            del self._chosen[owner]

    def _in_backoff_until(self, project: Project) -> float:
        backoff = self._project_backoffs.get(project)
        return 0.0 if backoff is None else backoff.until
