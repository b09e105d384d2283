"""Finds and ends what our processes left behind, by the marker in their environment.

The CLI runs its tools in sessions of their own, so neither its death nor a kill of its process
group reaches them; the environment is inherited by all of them, `nohup setsid` ones too.
A marker is `<server pid>:<server's start time>:<pid namespace>:<process id>`; the first three tell
whether the server that owns a process is still alive.  What does not look like that, or comes
from another namespace (a container's server, seen from outside), is not ours to judge.
Needs Linux's /proc; elsewhere it finds nothing.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from cowork.claude.command import MARKER

MAX_PASSES = 3
_PROC = Path("/proc")
_NEEDLE = f"{MARKER}=".encode()
_MARKER = re.compile(r"(?P<pid>\d+):(?P<started>\d+):(?P<namespace>\d+):(?P<id>\w+)")


def marker(process_id: str) -> str:
    """The marker of a process that this server starts; `process_id` is unique to it."""
    return f"{os.getpid()}:{_started(os.getpid())}:{_namespace()}:{process_id}"


def process_identity() -> str:
    """This process among all that ever ran here: `<host>/<pid>:<start>:<pid namespace>`.

    The host is named by its boot, so that no name means a process of an earlier one.
    """
    try:
        host = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        host = socket.gethostname()
    return f"{host}/{marker('').rstrip(':')}"


def is_dead(name: str) -> bool:
    """Whether the process of that `process_identity` certainly lives no more."""
    host, _, found = name.partition("/")
    return host == process_identity().partition("/")[0] and _orphaned(f"{found}:x")


def find_marked(wanted: str) -> list[int]:
    """The pids that carry exactly this marker."""
    return [pid for pid, found in _marked() if found == wanted]


def sweep(wanted: str, *, spare: Callable[[int], bool] = lambda _: False) -> list[int]:
    """Kill whatever carries this marker and is not spared; the pids that were killed.

    Looks again after a find: a process that was just being started shows no environment.
    """
    killed: set[int] = set()
    for _ in range(MAX_PASSES):
        found = [pid for pid in find_marked(wanted) if pid not in killed and not spare(pid)]
        if not found:
            break
        killed.update(pid for pid in found if _kill(pid, wanted))
    return sorted(killed)


def find_started_by(server_pid: int) -> list[int]:
    """The pids of all that a server has started."""
    return [pid for pid, found in _marked() if found.startswith(f"{server_pid}:")]


def sweep_own() -> list[int]:
    """Kill whatever this server ever started and did not end; the pids that were killed."""
    ours = marker("")
    return [pid for pid, found in _marked() if found.startswith(ours) and _kill(pid, found)]


def sweep_dead_servers() -> list[int]:
    """Kill what servers that no longer live have left; the pids that were killed."""
    return [pid for pid, found in _marked() if _orphaned(found) and _kill(pid, found)]


def session_of(pid: int) -> int | None:
    """The Unix session of a process, or None where it is gone."""
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _marked() -> Iterator[tuple[int, str]]:
    try:
        names = os.listdir(_PROC)  # noqa: PTH208 - a directory of numbers
    except OSError:
        return  # not Linux
    for name in names:
        if name.isdecimal():
            found = _marker_of(int(name))
            if found is not None:
                yield int(name), found


def _marker_of(pid: int) -> str | None:
    # Not by a Path: of a machine's hundreds of processes nearly all are strangers.
    try:
        with open(f"{_PROC}/{pid}/environ", "rb", buffering=0) as file:  # noqa: PTH123
            environ = file.read()
    except OSError:
        return None  # gone, or another user's
    if _NEEDLE not in environ:
        return None
    for item in environ.split(b"\0"):
        if item.startswith(_NEEDLE):
            return item[len(_NEEDLE) :].decode(errors="replace")
    return None


def _kill(pid: int, wanted: str) -> bool:
    """Kill by pid file descriptor, after a second look: the pid may be another's by now."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if _marker_of(pid) != wanted:
            return False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        return True
    finally:
        os.close(handle)


def _orphaned(found: str) -> bool:
    """Whether the server that a marker names is certainly gone."""
    parsed = _MARKER.fullmatch(found)
    if parsed is None or parsed["namespace"] != _namespace():
        return False
    return _started(int(parsed["pid"])) != int(parsed["started"])


def _namespace() -> str:
    """The number of our pid namespace, in which alone our pids mean anything."""
    try:
        return "".join(filter(str.isdigit, os.readlink("/proc/self/ns/pid")))  # noqa: PTH115
    except OSError:
        return "0"


def _started(pid: int) -> int:
    """When a process started, in the kernel's ticks since boot; 0 where that is not known."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return 0
    # The second field is the program's name in brackets and may hold spaces itself.
    state, *fields = stat.rpartition(")")[2].split()
    return 0 if state == "Z" else int(fields[18])
