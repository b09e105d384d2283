"""The other workers that share our store: all the parts that talk with them, connected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cowork.claude.pool.slot import PoolCounts, PoolLoad
from cowork.model import WorkerInfo
from cowork.stores.worker_protocol import WorkerStore
from cowork.telemetry.metrics import NO_METRICS, Metrics
from cowork.turns.registry import TurnRegistry
from cowork.turns.remote.assignments import Assignments
from cowork.turns.remote.channel import Channel
from cowork.turns.remote.commands import RemoteTurns
from cowork.turns.remote.publisher import LogPublisher
from cowork.turns.service import TurnService
from cowork.turns.workers.command_handlers import CommandHandlers
from cowork.turns.workers.machine_processes import MachineProcesses
from cowork.turns.workers.process_directory import ProcessDirectory


@dataclass(slots=True)
class Workers:
    """`start` it with the service that does what others ask, `close` it after that."""

    others: WorkerStore
    channel: Channel
    publisher: LogPublisher
    remote: RemoteTurns
    machine: MachineProcesses

    def start(self, service: TurnService, processes: ProcessDirectory) -> None:
        """Listen to the others."""
        self.publisher.start()
        handlers = CommandHandlers(service, self.channel, self.publisher, self.remote, processes)
        self.channel.start(handlers.table())
        self.remote.start()

    def close(self) -> None:
        """Listen no more; calling it twice is no error."""
        self.remote.close()
        self.publisher.close()
        self.channel.close()


def connect_workers(
    others: WorkerStore,
    registry: TurnRegistry,
    *,
    holder: str,
    free: Callable[[], int],
    release_if_dead: Callable[[str], bool],
    process_limit: int,
    metrics: Metrics = NO_METRICS,
) -> Workers:
    """The parts of the worker `holder`; see `Assignments` for the calls.

    All workers of this machine have `process_limit` processes together.
    """
    channel = Channel(others, holder, is_dead=release_if_dead, metrics=metrics)
    assignments = Assignments(others, holder, free=free, release_if_dead=release_if_dead)
    publisher = LogPublisher(
        others, lambda worker, turn_id: channel.tell(worker, "ended", {"turn": turn_id})
    )
    remote = RemoteTurns(others, channel, assignments, registry, holder=holder)
    machine = MachineProcesses(others, channel, holder=holder, limit=process_limit)
    return Workers(others, channel, publisher, remote, machine)


def free_of(counts: PoolCounts) -> int:
    """How many processes may still be started; idle ones make room."""
    return counts.limit - counts.busy - counts.starting


class SelfDescription:
    """What a worker tells of itself; `load` gives its processes."""

    def __init__(self, holder: str, *, host: str, pid: int, load: Callable[[], PoolLoad]) -> None:
        self._holder = holder
        self._host = host
        self._pid = pid
        self._load = load
        self._started = datetime.now(UTC)

    def __call__(self, lag_ms: float = 0.0) -> WorkerInfo:
        """As it is now; its wake-ups are so many milliseconds late."""
        load = self._load()
        counts = load.counts
        return WorkerInfo(
            self._holder,
            self._host,
            self._pid,
            self._holder.partition("/")[0],
            self._started,
            projects=load.projects,
            processes=counts.busy + counts.idle + counts.spare + counts.starting,
            free=free_of(counts),
            idle_s=round(load.idle_s, 1),
            lag_ms=round(lag_ms, 1),
        )
