"""The doctor's look at the machine: files' rights, port, limits, versions, disks, proxies."""

from __future__ import annotations

import http.client
import os
import platform
import resource
import shutil
import socket
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from cowork import __version__
from cowork.claude.disk_space import MIN_FREE_BYTES
from cowork.claude.pool.memory import limit_by_memory
from cowork.operations.checks import FAIL, OK, WARN, Check
from cowork.operations.disk import existing
from cowork.operations.places import Places
from cowork.runtime import address, unix_user
from cowork.settings.settings import Settings

# As SECURITY.md counts them: connections, files of a process and of a turn, and the rest.
CONNECTIONS, FILES_OF_A_PROCESS, OTHER_FILES = 2000, 5, 256
# A CLI and its tools have threads, which count as processes.
TASKS_OF_A_PROCESS = 40
# Below it a disk is worth a warning; bytes.
LITTLE_ROOM_BYTES = 2**30
_PROXY_TIMEOUT_S = 2.0
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")


def check_permissions(settings: Settings, dotenv: Path) -> Iterator[Check]:
    """Who may read the files of secrets, and whose rights the CLI has."""
    faults = 0
    for file in (dotenv.absolute(), settings.api_keys_file):
        if file is None or not file.exists():
            continue
        user = settings.claude_user
        if file.stat().st_mode & 0o077 or (user and unix_user.can_access(user, file, os.R_OK)):
            faults += 1
            yield Check("permissions", WARN, f"others may read {file}", f"chmod 600 {file}")
    if settings.claude_user is None and os.geteuid() == unix_user.ROOT:
        faults += 1
        cure = "set COWORK_CLAUDE_USER, or run the server as a user of its own"
        yield Check("permissions", WARN, "the CLI runs as root", cure)
    if settings.claude_user is not None and not unix_user.can_read_foreign_environ():
        faults += 1
        said = "processes that tools leave behind are not found"
        yield Check("permissions", WARN, said, "give the server CAP_SYS_PTRACE")
    if not faults:
        yield Check("permissions", OK, "files of secrets are their owner's alone")


def check_port(settings: Settings) -> Iterator[Check]:
    """Whether the address is free, or this server has it already."""
    try:
        address.check_free(settings.host, settings.port)
        yield Check("port", OK, f"{settings.host}:{settings.port} is free")
    except ValueError as fault:
        if _is_ours(settings.port):
            yield Check("port", OK, f"a server answers at port {settings.port}")
        else:
            yield Check("port", FAIL, str(fault))


def _is_ours(port: int) -> bool:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=_PROXY_TIMEOUT_S)
    try:
        line.request("GET", "/health/live")
        return line.getresponse().read(64).strip() == b'{"status":"live"}'
    except (OSError, http.client.HTTPException):
        return False
    finally:
        line.close()


def check_limits(settings: Settings) -> Iterator[Check]:
    """Files, memory and processes that one worker may have."""
    processes = settings.max_processes or limit_by_memory()
    files = CONNECTIONS + FILES_OF_A_PROCESS * processes + OTHER_FILES
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        cure = f"ulimit -n {files}, or LimitNOFILE= in the unit"
        yield Check("limits", WARN, f"{soft} open files are allowed, {files} may be needed", cure)
    else:
        yield Check("limits", OK, f"{soft} open files are allowed")
    fit = limit_by_memory()
    if settings.max_processes > fit:
        said = f"memory is there for {fit} CLI processes, COWORK_MAX_PROCESSES={processes}"
        yield Check("limits", WARN, said, "lower it, or add memory")
    else:
        yield Check("limits", OK, f"{processes} CLI processes at most; memory is there for {fit}")
    tasks = TASKS_OF_A_PROCESS * processes + OTHER_FILES
    allowed = _allowed_tasks()
    if allowed is not None and allowed < tasks:
        cure = "raise TasksMax= of the unit, pids of the container, or `ulimit -u`"
        said = f"{allowed} processes and threads are allowed, {tasks} may be needed"
        yield Check("limits", WARN, said, cure)
    else:
        yield Check("limits", OK, f"{allowed or 'any number of'} processes and threads are allowed")


def _allowed_tasks() -> int | None:
    found = []
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft != resource.RLIM_INFINITY and os.geteuid() != unix_user.ROOT:
        found.append(soft)
    try:
        group = Path("/proc/self/cgroup").read_text(encoding="ascii").rpartition("::")[2].strip()
        text = (Path("/sys/fs/cgroup") / group.lstrip("/") / "pids.max").read_text(encoding="ascii")
        found.append(int(text))
    except (OSError, ValueError):
        pass  # none is set, or it is kept from us
    return min(found, default=None)


def check_versions() -> Iterator[Check]:
    """What it runs on."""
    parts = ", ".join(f"{name} {version(name)}" for name in ("gunicorn", "gevent", "flask"))
    said = f"xo-cowork {__version__}, Python {platform.python_version()}, {parts}"
    yield Check("versions", OK, said)
    if shutil.which("setpriv") is None or not Path("/proc/self/environ").exists():
        said = "a server that is killed may leave CLI processes behind"
        yield Check("versions", WARN, said, "install util-linux (`setpriv`), on Linux")


def check_disks(places: Places) -> Iterator[Check]:
    """Room where the server and the CLI write."""
    folders = [places.workspace, places.config]
    if (file := places.store_file) is not None:
        folders.append(file.parent)
    seen: dict[int, tuple[Path, int]] = {}
    for folder in folders:
        there = existing(folder)
        found = os.statvfs(there)
        seen.setdefault(there.stat().st_dev, (there, found.f_bavail * found.f_frsize))
    for there, free in seen.values():
        said = f"{free / 2**30:.1f} GiB are free in {there}"
        if free < MIN_FREE_BYTES:
            yield Check("disk", FAIL, said, "make room: nothing is kept")
        elif free < LITTLE_ROOM_BYTES:
            yield Check("disk", WARN, said, "make room")
        else:
            yield Check("disk", OK, said)


def check_proxies(settings: Settings, environ: Mapping[str, str]) -> Iterator[Check]:
    """Proxies in front of the server, and the one behind which the CLI finds its model."""
    has_keys = bool(settings.api_keys or settings.api_keys_file)
    if settings.trusted_proxies and not has_keys:
        said = "behind a proxy nobody is served without a key"
        yield Check("proxies", WARN, said, "set COWORK_API_KEYS_FILE")
    elif has_keys and not settings.trusted_proxies:
        said = "all clients of a proxy share one budget of wrong keys"
        yield Check("proxies", OK, f"{said}, until COWORK_TRUSTED_PROXIES names it")
    given = {name: environ[name] for name in _PROXIES if environ.get(name)}
    for name, url in given.items():
        yield _reach(name, url)
    if not given:
        yield Check("proxies", OK, "the CLI calls its model directly")


def _reach(name: str, url: str) -> Check:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        place = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection(place, timeout=_PROXY_TIMEOUT_S).close()
    except (OSError, ValueError) as fault:
        # Not the URL: it may hold a password.
        said = f"the proxy of {name} cannot be reached: {fault}"
        return Check("proxies", FAIL, said, "mend the variable, or start the proxy")
    return Check("proxies", OK, f"the CLI goes by {name}, which answers at {place[0]}:{place[1]}")
