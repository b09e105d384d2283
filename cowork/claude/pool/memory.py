"""How much memory there is for processes, and how much of it one takes.

Needs Linux's /proc; elsewhere the least is assumed and nothing can be measured.
"""

from __future__ import annotations

import os
from pathlib import Path

PROCESS_BYTES = 350 * 2**20
RESERVED_BYTES = 2 * 2**30
# A tool that forks without end must not keep us counting.
MOST_DESCENDANTS = 256
BLOCK = 64 * 1024
_PROC = Path("/proc")


def limit_by_memory() -> int:
    """How many processes fit: what is free but 2 GiB, at 350 MiB each; 2 at least, 64 at most."""
    free = min(
        (found for found in (_machine_free(), _cgroup_free()) if found is not None), default=0
    )
    return max(2, min(64, (free - RESERVED_BYTES) // PROCESS_BYTES))


def _machine_free() -> int | None:
    """Bytes that the machine can still give."""
    return _field(_PROC / "meminfo", "MemAvailable:")


def _cgroup_free() -> int | None:
    """Bytes that our container can still give; None where it sets no limit."""
    try:
        group = Path("/proc/self/cgroup").read_text(encoding="ascii").rpartition("::")[2].strip()
        folder = Path("/sys/fs/cgroup") / group.lstrip("/")
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = (folder / "memory.current").read_text(encoding="ascii").strip()
        return int(limit) - int(used)
    except (OSError, ValueError):
        return None


def tree_pss(pid: int) -> int | None:
    """Bytes that a process and its descendants take; None where that cannot be read.

    Their proportional share (PSS), or their resident size where the kernel keeps that from us.
    The kernel walks every page of them: about 4 ms for a process of 200 MB, so not on the event
    loop.
    """
    own = _process_pss(pid)
    if own is None:
        return None
    return own + sum(_process_pss(each) or 0 for each in _descendants(pid))


def _process_pss(pid: int) -> int | None:
    share = _field(_PROC / str(pid) / "smaps_rollup", "Pss:")
    return share if share is not None else _field(_PROC / str(pid) / "status", "VmRSS:")


def _field(path: Path, name: str) -> int | None:
    """Bytes of a line such as `Pss:   1234 kB`."""
    try:
        lines = _read(path).splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
    except (OSError, StopIteration, IndexError, ValueError):
        return None


def _read(path: Path) -> str:
    """A file of /proc, with half the system calls of a file object's.

    At each of them the event loop's thread and this one hand each other the interpreter.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        pieces = [os.read(handle, BLOCK)]
        while pieces[-1]:
            pieces.append(os.read(handle, BLOCK))
    finally:
        os.close(handle)
    return b"".join(pieces).decode("ascii", errors="replace")


def _descendants(pid: int) -> list[int]:
    found = _children(pid)
    for each in found:
        if len(found) < MOST_DESCENDANTS:
            found += _children(each)
    return found


def _children(pid: int) -> list[int]:
    try:
        tasks = list((_PROC / str(pid) / "task").iterdir())
        said = [_read(task / "children") for task in tasks]
    except OSError:
        return []  # gone, or a kernel that does not tell
    return [int(child) for line in said for child in line.split()]
