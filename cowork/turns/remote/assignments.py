"""Which worker answers a project's questions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from hashlib import blake2b

from cowork.log import logger
from cowork.model import Project, WorkerInfo
from cowork.stores.worker_protocol import WorkerStore

log = logger(__name__)

# How long what is known of the other workers is taken for true.
WORKERS_TTL_S = 1.0
ATTEMPTS = 3


class Assignments:
    """A project stays with the worker that has its process.

    One that has none is given to us, where the client is connected and nginx may have sent it for
    that reason; to another where we have no room: `free` is how many processes we may still start.
    `release_if_dead` releases what a worker of this machine has held that is certainly gone.
    """

    def __init__(
        self,
        others: WorkerStore,
        holder: str,
        *,
        free: Callable[[], int],
        release_if_dead: Callable[[str], bool],
    ) -> None:
        self._others = others
        self._holder = holder
        self._free = free
        self.release_if_dead = release_if_dead
        self._known: list[WorkerInfo] = []
        self._known_until = 0.0
        self._closed = False

    def assign(self, project: Project) -> str | None:
        """The worker that answers the project's next question; None for us."""
        for _ in range(ATTEMPTS):
            worker = self._others.assign(project, self._candidate(project))
            if worker == self._holder:
                return None
            if not self.release_if_dead(worker):
                return worker
        return None

    def find(self, project: Project) -> list[str]:
        """The workers that may have turns of the project, us among them."""
        return [
            worker
            for worker in self._others.find_workers(project)
            if worker == self._holder or not self.release_if_dead(worker)
        ]

    def workers(self) -> list[WorkerInfo]:
        """All that take questions, as they were a moment ago."""
        if time.monotonic() >= self._known_until:
            self._known = self._others.workers()
            self._known_until = time.monotonic() + WORKERS_TTL_S
        return self._known

    def close(self) -> None:
        """Take no more projects; those that come here go to others, while there are any."""
        self._closed = True

    def _candidate(self, project: Project) -> str:
        if self._free() > 0 and not self._closed:
            return self._holder
        others = [each for each in self.workers() if each.holder != self._holder]
        others = [each for each in others if each.free > 0] or (others if self._closed else [])
        if not others:
            return self._holder
        return max(others, key=lambda each: _weight(project, each)).holder


def _weight(project: Project, worker: WorkerInfo) -> float:
    """Of a rendezvous hash: all workers prefer the same one, and one with more room more often."""
    text = f"{project.owner}\0{project.name}\0{worker.holder}".encode(errors="surrogatepass")
    number = int.from_bytes(blake2b(text, digest_size=8).digest(), "big") + 1
    return worker.free / -math.log(number / (2**64 + 1))
