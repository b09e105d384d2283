"""What the kernel tells of the processes below one: its children, and theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def children(pid: int) -> list[int]:
    """The children of all threads of a process that have not ended; [] when it is gone."""
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, listed.read_text().split())
        except OSError:
            continue  # that thread has ended
    return [child for child in found if is_alive(child)]


def descendants(pid: int) -> Iterator[int]:
    """All processes below one; not those that were detached by the death of one in between."""
    for child in children(pid):
        yield child
        yield from descendants(child)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    # The second field is the program's name in brackets and may hold spaces itself.
    return stat.rpartition(")")[2].split()[0] != "Z"
