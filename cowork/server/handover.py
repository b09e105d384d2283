"""Has a worker that is replaced serve until its successor does.

On HUP gunicorn's master starts new workers and tells the old ones to end at once, seconds before
anybody else accepts; who connects meanwhile waits.  Here the old one goes on accepting until a new
one has begun to.  Master and workers know that of each other by a page of memory that they share.
"""

from __future__ import annotations

import mmap
import os
import struct
import time

# A successor that does not serve by then is not waited for.
HANDOVER_TIMEOUT_S = 30.0
# Between the fork and the first word of a successor, or of the next after one that has died.
FORK_GRACE_S = 1.0
_NOBODY = 0


class Handover:
    """One reload at a time.  Made in the master, before it forks."""

    def __init__(self) -> None:
        # Whether a reload is under way, the pid of the last worker that was begun in it, and
        # whether any worker has ever accepted.
        self._shared = mmap.mmap(-1, 24)

    def begin(self) -> None:
        """In the master: a reload begins; workers that start from now on are successors."""
        self._write(is_underway=True, pid=_NOBODY)

    def starting(self) -> None:
        """In a worker that was just forked."""
        if self.is_underway:
            self._write(is_underway=True, pid=os.getpid())

    def serving(self) -> None:
        """In a worker that accepts from now on."""
        struct.pack_into("q", self._shared, 16, True)
        self._write(is_underway=False, pid=_NOBODY)

    @property
    def is_underway(self) -> bool:
        """Whether a reload has begun and none of its workers accepts yet."""
        return bool(self._read()[0])

    @property
    def has_served(self) -> bool:
        """Whether any worker has accepted since the master's start."""
        return bool(struct.unpack_from("q", self._shared, 16)[0])

    def must_wait(self, since: float) -> bool:
        """Whether a worker that was told to end at `since` (monotonic) is still needed."""
        is_underway, pid = self._read()
        waited = time.monotonic() - since
        if not is_underway or waited > HANDOVER_TIMEOUT_S:
            return False
        return waited < FORK_GRACE_S or (pid != _NOBODY and _is_alive(pid))

    def _read(self) -> tuple[int, int]:
        is_underway, pid = struct.unpack_from("qq", self._shared)
        return is_underway, pid

    def _write(self, *, is_underway: bool, pid: int) -> None:
        struct.pack_into("qq", self._shared, 0, is_underway, pid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


handover = Handover()
