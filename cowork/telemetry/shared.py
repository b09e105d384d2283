"""Adds up the metrics of the workers behind one port, those that have ended among them.

A scrape reaches one of the workers; what the others have counted it reads from files in a folder
that the server's master has made for all of them.  Totals must never be seen to shrink, or
Prometheus takes it for a restart:

- whatever a worker shows, it has written first, so that no other shows less of it later;
- the totals of a worker that has ended are kept, and moved to one file, so that a server that is
  reloaded every day has a file a worker and one more.

A worker writes at its start, every `PUBLISH_INTERVAL_S` while there are others, and at its end.
One that is killed loses what it has counted since; what was shown is not lost.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cowork.gevent_compat import run_in_native_thread
from cowork.log import logger
from cowork.runtime.periodic import PeriodicThread
from cowork.telemetry.prometheus import PrometheusMetrics, text_of
from cowork.telemetry.samples import Samples, dumps, loads, merged, of_worker, totals

log = logger(__name__)

PUBLISH_INTERVAL_S = 5.0
JOIN_TIMEOUT_S = 1.0
# Names of workers whose totals are in `ENDED`: for a reader that has read a file before it was
# moved there, and this one after.
MAX_REMEMBERED = 256
SUFFIX, ENDED, LOCK = ".worker", "ended.json", "lock"


class SharedMetrics:
    """What `/metrics` tells; `start` and `close` it.

    `worker` is this worker's name among those of `folder` (None: there are no others), `is_dead`
    says of such a name whether its process is certainly gone.
    """

    def __init__(
        self,
        metrics: PrometheusMetrics,
        *,
        worker: str = "0",
        folder: Path | None = None,
        is_dead: Callable[[str], bool] = lambda _worker: False,
        interval: float = PUBLISH_INTERVAL_S,
    ) -> None:
        self._metrics = metrics
        self._worker = worker
        self._folder = folder
        self._is_dead = is_dead
        self._interval = interval
        # What is written later is never less: one at a time.
        self._lock = threading.Lock()
        self._thread = PeriodicThread("metrics", self._publish_when_read, retry_s=interval)

    def start(self) -> None:
        """Begin to tell the other workers; there is nothing to be done without any."""
        if self._folder is not None:
            self._thread.start()

    def close(self) -> None:
        """Tell the others a last time."""
        self._thread.stop()
        self._thread.join(JOIN_TIMEOUT_S)
        try:
            if self._folder is not None:
                self._publish(self._folder)
        except OSError as fault:
            log.warning("could not write metrics", why=str(fault))

    def text(self) -> bytes:
        """What all workers have counted, for Prometheus."""
        with self._lock:
            mine = self._samples()
            # Off the event loop: some milliseconds for each worker there is.
            return run_in_native_thread(lambda: text_of(self._with_others(mine)))

    def _with_others(self, mine: Samples) -> Samples:
        if self._folder is None:
            return mine
        try:
            return merged([mine, *self._exchange(self._folder, mine)])
        except (OSError, ValueError) as fault:  # what there is here is better than nothing
            log.warning("could not read the other workers' metrics", why=str(fault))
            return mine

    def _samples(self, *, own: bool = False) -> Samples:
        return of_worker(self._metrics.samples(own=own), self._worker)

    def _publish_when_read(self) -> float:
        """Tell the others, once to be known to them, and then while there are any."""
        folder = self._folder
        if folder is not None and run_in_native_thread(lambda: self._is_due(folder)):
            self._publish(folder)
        return self._interval

    def _is_due(self, folder: Path) -> bool:
        there = {path.name for path in folder.glob(f"*{SUFFIX}")}
        return there != {f"{self._worker}{SUFFIX}"}

    def _publish(self, folder: Path) -> None:
        with self._lock:
            mine = self._samples(own=True)
            run_in_native_thread(lambda: self._write_own(folder, mine))

    def _write_own(self, folder: Path, mine: Samples) -> None:
        _write(folder / f"{self._worker}{SUFFIX}", dumps(mine))

    def _exchange(self, folder: Path, mine: Samples) -> list[Samples]:
        """Tell the others ours, and learn theirs."""
        self._write_own(folder, mine)
        self._collect_dead(folder)
        found = self._workers(folder)
        # After the workers' own: what is moved meanwhile is in here.
        ended, names = _ended(folder)
        return [ended, *(samples for name, samples in found.items() if name not in names)]

    def _workers(self, folder: Path) -> dict[str, Samples]:
        """What each other worker has told last; of a dead one, its totals."""
        found = {}
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            name = path.name.removesuffix(SUFFIX)
            if name == self._worker or (read := _read(path)) is None:
                continue
            found[name] = totals(read[0]) if self._is_dead(name) else read[0]
        return found

    def _collect_dead(self, folder: Path) -> None:
        """Move dead workers' totals to one file, unless another worker is at it."""
        dead = [
            path
            for path in folder.glob(f"*{SUFFIX}")
            if path.name != f"{self._worker}{SUFFIX}"
            and self._is_dead(path.name.removesuffix(SUFFIX))
        ]
        if not dead:
            return
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _move(folder, dead)
        finally:
            os.close(lock)


def _move(folder: Path, dead: list[Path]) -> None:
    """Add those files to the one of ended workers; a crash in between counts none of them twice."""
    ended, names = _ended(folder)
    moved = {path.name.removesuffix(SUFFIX): read for path in dead if (read := _read(path))}
    new = {name: totals(read[0]) for name, read in moved.items() if name not in names}
    if new:
        kept = [*names, *new][-MAX_REMEMBERED:]
        _write(folder / ENDED, dumps(merged([ended, *new.values()]), names=kept))
    for path in dead:
        path.unlink(missing_ok=True)


def _ended(folder: Path) -> tuple[Samples, list[str]]:
    """The totals of workers that have ended, and their names."""
    read = _read(folder / ENDED)
    return ({}, []) if read is None else (read[0], read[1]["names"])


def _read(path: Path) -> tuple[Samples, dict[str, Any]] | None:
    try:
        return loads(path.read_bytes())
    except FileNotFoundError:
        return None


def _write(path: Path, data: bytes) -> None:
    """Write a file so that whoever reads it has all of it."""
    made = path.with_name(f"{path.name}.{os.getpid()}.new")
    made.write_bytes(data)
    made.replace(path)
