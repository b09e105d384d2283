"""What the kernel tells of a process; needs Linux's /proc."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def tied(argv: list[str]) -> list[str]:
    """That command, ended with us whatever ends us, where there is `setpriv`."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--", *argv] if setpriv else argv


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used until now, its ended threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def busy_share(seconds: float) -> float:
    """How busy all CPUs are in the next `seconds`, from 0 to 1; nothing of ours should run."""
    idle, total = _ticks()
    time.sleep(seconds)
    idle_then, total_then = _ticks()
    return 1.0 - (idle_then - idle) / max(1, total_then - total)


def _ticks() -> tuple[int, int]:
    first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
    ticks = [int(each) for each in first.split()[1:9]]  # guests are counted among users
    return ticks[3] + ticks[4], sum(ticks)


def resident_bytes(pid: int) -> int:
    """The memory that a process has in RAM, shared pages counted whole; cheap to ask."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE


def reset_peak(pid: int) -> None:
    """Have `peak_bytes` count from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had in RAM since `reset_peak`."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line[:6] == "VmHWM:") * 1024


def proportional_bytes(pid: int) -> int:
    """The same, shared pages divided among those who share them (PSS)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in rollup.splitlines() if line[:4] == "Pss:") * 1024


def children(pid: int) -> list[int]:
    """The pids of a process's children."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in listed.split()]
