"""The CLI processes of all workers: listed, and ended, from whichever is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from cowork.claude.pool.pool import Pool
from cowork.claude.pool.slot import ProcessInfo, SlotState
from cowork.errors import CoworkError, ProcessNotFound, StoreUnavailable, WorkerUnreachable
from cowork.model import Project
from cowork.runtime.thread_pool import CachedThreadPool
from cowork.stores.worker_protocol import WorkerStore
from cowork.turns.remote.channel import COMMAND_TTL_S, Body, Channel

# How long a worker may take, once it has begun: each of its processes is measured; and one that
# is ended may have to be killed in the end.
LIST_TIMEOUT_S = 3.0
END_TIMEOUT_S = 12.0
# More workers than that are not asked, and count as out of reach.
ASKED_LIMIT = 100

# How one answered: with what, or why not.
_Answer = Body | CoworkError


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A process, and the name of the worker that has it; None where there is no other worker."""

    worker: str | None
    info: ProcessInfo


@dataclass(frozen=True, slots=True)
class ProcessList:
    """`unreachable` are the workers that did not answer; None where there is no other worker."""

    processes: tuple[WorkerProcess, ...]
    unreachable: tuple[str, ...] | None


class ProcessDirectory:
    """`pool` has our own processes, `holder` is our name; `others` and `channel` reach the rest."""

    def __init__(
        self,
        pool: Pool,
        *,
        holder: str,
        others: WorkerStore | None = None,
        channel: Channel | None = None,
    ) -> None:
        self._pool = pool
        self._holder = holder
        self._others = others
        self._channel = channel
        self._known: list[str] = []
        self._threads = CachedThreadPool("process directory")

    def find(self, owner: str) -> ProcessList:
        """The processes of the owner's projects, and the spares, of every worker that answers."""
        workers = self._workers()
        asked = self._start_asking(workers, "processes", {"owner": owner}, LIST_TIMEOUT_S)
        ours = self.find_here(owner)
        if not workers:
            return ProcessList(tuple(WorkerProcess(None, info) for info in ours), None)
        answers = asked()
        found = [WorkerProcess(self._holder, info) for info in ours]
        for worker, answer in answers.items():
            if not isinstance(answer, CoworkError):
                found += [WorkerProcess(worker, _info_of(each)) for each in answer["processes"]]
        return ProcessList(tuple(found), _unreachable(workers, answers))

    def find_here(self, owner: str) -> list[ProcessInfo]:
        """The same of this worker."""
        return self._pool.processes(lambda project: project is None or project.owner == owner)

    def end(self, process_id: str, owner: str, *, is_operator: bool) -> None:
        """End an idle process of the owner's, or, for an operator, a spare, in whatever worker.

        Raises `ProcessNotFound`, `ProcessBusy`, and `WorkerUnreachable` where nobody has it of
        those that answer, and some do not.
        """
        try:
            self.end_here(process_id, owner, is_operator=is_operator)
        except ProcessNotFound:
            workers = self._workers()
            if not workers:
                raise
        else:
            return
        body = {"id": process_id, "owner": owner, "is_operator": is_operator}
        answers = self._start_asking(workers, "end_process", body, END_TIMEOUT_S)()
        for answer in answers.values():
            if not isinstance(answer, CoworkError):
                return
            if not isinstance(answer, ProcessNotFound | WorkerUnreachable | StoreUnavailable):
                raise answer
        if _unreachable(workers, answers):
            raise WorkerUnreachable("a worker that may have it does not answer", retry_after=1)
        raise ProcessNotFound("no such process")

    def end_here(self, process_id: str, owner: str, *, is_operator: bool) -> None:
        """The same of this worker."""

        def visible(project: Project | None) -> bool:
            return is_operator if project is None else project.owner == owner

        self._pool.end_idle(process_id, visible)

    def _workers(self) -> list[str]:
        """The names of the others; while the store is unavailable those that there were."""
        if self._others is None:
            return []
        with suppress(StoreUnavailable):
            self._known = [
                worker.holder for worker in self._others.workers() if worker.holder != self._holder
            ]
        return self._known

    def _start_asking(
        self, workers: list[str], kind: str, body: Body, timeout: float
    ) -> Callable[[], Mapping[str, _Answer]]:
        """Ask all of them at once; what is returned waits for their answers, and no longer."""
        answers: dict[str, _Answer] = {}
        changed = threading.Condition()
        channel, asked = self._channel, workers[:ASKED_LIMIT]
        deadline = time.monotonic() + 2 * COMMAND_TTL_S + timeout

        def ask(worker: str) -> None:
            answer: _Answer
            try:
                assert channel is not None  # noqa: S101 - there are no others without it
                answer = channel.call(worker, kind, body, timeout=timeout)
            except CoworkError as error:
                answer = error
            with changed:
                answers[worker] = answer
                changed.notify_all()

        def wait() -> Mapping[str, _Answer]:
            with changed:
                changed.wait_for(lambda: len(answers) == len(asked), deadline - time.monotonic())
                return dict(answers)

        for worker in asked:
            self._threads.run(lambda worker=worker: ask(worker))  # type: ignore[misc]
        return wait

    def close(self) -> None:
        """Ask nobody any more."""
        self._threads.close()


def processes_reply(found: list[ProcessInfo]) -> Body:
    """What a worker answers that is asked for its processes."""
    return {"processes": [asdict(each) for each in found]}


def _info_of(body: Mapping[str, Any]) -> ProcessInfo:
    info = ProcessInfo(**body)
    project = body["project"]
    return replace(
        info,
        state=SlotState(body["state"]),
        project=None if project is None else Project(**project),
    )


def _unreachable(workers: list[str], answers: Mapping[str, _Answer]) -> tuple[str, ...]:
    silent = (WorkerUnreachable, StoreUnavailable)
    return tuple(
        worker for worker in workers if worker not in answers or isinstance(answers[worker], silent)
    )
