"""What `/metrics` shows of how the server stands: read from its parts whenever somebody looks."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from cowork import __version__
from cowork import log as logging
from cowork.claude.pool.pool import Pool
from cowork.gevent_compat import green, run_in_native_thread
from cowork.lifecycle import Services
from cowork.stores import sqlite_path
from cowork.telemetry import catalogue as c
from cowork.telemetry.metrics import Metrics, Reading
from cowork.turns.outcome import TurnState

# Of the approvals that wait; more are not counted.
MAX_APPROVALS = 1000
_STARTED = time.time()


def watch_all(metrics: Metrics, services: Services, *, home: Path) -> None:
    """Have every gauge read; `home` is where the CLI keeps its sessions."""
    _watch_turns(metrics, services)
    _watch_cli(metrics, services)
    _watch_state(metrics, services)
    _watch_disks(metrics, services, home)
    _watch_process(metrics)


def _watch_turns(metrics: Metrics, services: Services) -> None:
    service = services.turn_service
    metrics.watch(c.TURNS_IN_PROGRESS, lambda: _by_state(service.counts()))
    remote = services.workers.remote if services.workers is not None else None
    metrics.watch(c.REMOTE_READERS, lambda: _one(remote.reading.read_count if remote else 0))
    metrics.watch(c.WORKERS, lambda: _one(len(services.list_workers())), is_everybodys=True)
    metrics.watch(c.SESSIONS, lambda: _one(services.session_count()), is_everybodys=True)
    if services.settings.approvals != "off":
        metrics.watch(c.APPROVALS_PENDING, lambda: _approvals(services), is_everybodys=True)


def _approvals(services: Services) -> Reading:
    found = services.store.approvals(None, pending=True, limit=MAX_APPROVALS)
    return {(kind,): count for kind, count in Counter(each.kind for each in found).items()}


def _watch_cli(metrics: Metrics, services: Services) -> None:
    pool, cli = services.pool, services.cli
    metrics.watch(c.CLI_PROCESSES, lambda: _processes(pool))
    metrics.watch(c.CLI_PROCESSES_LIMIT, lambda: _one(pool.counts().limit))
    metrics.watch(c.CLI_MEMORY, lambda: _one(pool.measured_bytes()))
    metrics.watch(c.CLI_INFO, lambda: {(cli.state().version or "",): 1})
    # Unknown is no alarm: a login that is gone is told as such.
    metrics.watch(c.CLI_LOGGED_IN, lambda: _one(cli.state().logged_in is not False))


def _processes(pool: Pool) -> Reading:
    counts = pool.counts()
    return {
        ("busy",): counts.busy,
        ("idle",): counts.idle,
        ("spare",): counts.spare,
        ("starting",): counts.starting,
    }


def _watch_state(metrics: Metrics, services: Services) -> None:
    maintenance, outbox = services.maintenance, services.outbox
    metrics.watch(c.READY, lambda: _one(not services.readiness.reasons()))
    metrics.watch(c.STORE_UP, lambda: _one(maintenance.ok))
    metrics.watch(c.STORE_WAITING_ENDS, lambda: _one(maintenance.waiting_ends))
    if services.settings.store.startswith("sqlite:"):
        path = sqlite_path(services.settings.store)
        metrics.watch(c.STORE_FILE, lambda: _one(_bytes_of(path)), is_everybodys=True)
    if outbox.enabled:
        metrics.watch(c.OUTBOX_MESSAGES, lambda: _messages(services), is_everybodys=True)
        metrics.watch(c.OUTBOX_OLDEST, lambda: _oldest(services), is_everybodys=True)


def _messages(services: Services) -> Reading:
    counts = services.outbox.status.counts
    return {} if counts is None else {("waiting",): counts.waiting, ("dead",): counts.dead}


def _oldest(services: Services) -> Reading:
    counts = services.outbox.status.counts
    return {} if counts is None else _one(counts.oldest_age_s or 0.0)


def _bytes_of(path: Path) -> int:
    """Bytes of the database and of its log; none where there is no file yet."""
    found = (path.with_name(path.name + suffix) for suffix in ("", "-wal"))
    return run_in_native_thread(lambda: sum(each.stat().st_size for each in found if each.exists()))


def _watch_disks(metrics: Metrics, services: Services, home: Path) -> None:
    settings = services.settings
    folders = {"home": home, "workspace": settings.workspace}
    if settings.store.startswith("sqlite:"):
        folders["store"] = sqlite_path(settings.store).parent

    def read(*, is_free: bool) -> Reading:
        return run_in_native_thread(lambda: _bytes_in(folders, is_free=is_free))

    metrics.watch(c.DISK_FREE, lambda: read(is_free=True), is_everybodys=True)
    metrics.watch(c.DISK_SIZE, lambda: read(is_free=False), is_everybodys=True)


def _bytes_in(folders: Mapping[str, Path], *, is_free: bool) -> Reading:
    """What is free there, or what there is in all."""
    found: dict[tuple[str, ...], float] = {}
    for where, folder in folders.items():
        there = next(each for each in (folder, *folder.parents) if each.exists())
        told = os.statvfs(there)
        blocks = told.f_bavail if is_free else told.f_blocks
        found[where,] = float(blocks * told.f_frsize)
    return found


def _watch_process(metrics: Metrics) -> None:
    gevent = green()
    version = "" if gevent is None else str(gevent.__version__)
    metrics.watch(c.BUILD_INFO, lambda: {(__version__, platform.python_version(), version): 1})
    metrics.watch(c.LOG_LINES_DROPPED, lambda: _one(logging.dropped_lines()))
    readers: dict[c.Metric, Callable[[], float]] = {
        c.PROCESS_CPU: time.process_time,
        c.PROCESS_MEMORY: _resident_bytes,
        c.PROCESS_FDS: lambda: len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - numbers
        c.PROCESS_MAX_FDS: lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        c.PROCESS_START: lambda: _STARTED,
    }
    for metric, read in readers.items():
        metrics.watch(metric, lambda read=read: _one(read()))  # type: ignore[misc]


def _resident_bytes() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return float(pages * resource.getpagesize())


def _by_state(counts: Mapping[TurnState, int]) -> Reading:
    return {(state.value,): counts.get(state, 0) for state in (TurnState.QUEUED, TurnState.RUNNING)}


def _one(value: float) -> Reading:
    return {(): float(value)}
