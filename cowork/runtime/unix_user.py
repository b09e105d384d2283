"""The Unix user that the CLI runs as, where that is not the server's own."""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import shutil
import stat
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = 0
PRIVATE_MODE = 0o700
CAP_SYS_PTRACE = 19
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# On the way to a folder, as many as the kernel follows.
_MAX_LINKS = 40
# Groups are those of all threads, so that one thread at a time may change them.
_groups_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class UnixUser:
    """A user of this machine; `groups` are the numbers of all its groups."""

    name: str
    uid: int
    gid: int
    home: Path
    shell: str
    groups: frozenset[int]


def lookup_cli_user(name: str) -> UnixUser:
    """The user that a server running as root can give the CLI to; raises ValueError."""
    try:
        found = pwd.getpwnam(name)
    except (KeyError, ValueError):  # no name of a user may look like that
        raise ValueError("expected a user of this machine") from None
    if found.pw_uid == ROOT:
        raise ValueError("expected a user other than root")
    if os.geteuid() != ROOT:
        raise ValueError("only a server that runs as root can run the CLI as another user")
    if shutil.which("setpriv") is None or shutil.which("env") is None:
        raise ValueError("needs setpriv (util-linux) and env (coreutils) on PATH")
    groups = frozenset(os.getgrouplist(name, found.pw_gid))
    home, shell = Path(found.pw_dir), found.pw_shell or "/bin/sh"
    return UnixUser(name, found.pw_uid, found.pw_gid, home, shell, groups)


def can_read_foreign_environ(status_file: Path = Path("/proc/self/status")) -> bool:
    """Whether this process may read the environment of another user's processes."""
    try:
        status = status_file.read_text()
    except OSError:
        return False
    held = next((line for line in status.splitlines() if line.startswith("CapEff:")), "CapEff: 0")
    return bool(int(held.split()[1], 16) >> CAP_SYS_PTRACE & 1)


def make_folder(path: Path, user: UnixUser | None) -> None:
    """Make a folder and those above it that are missing, for its user alone; raises OSError.

    For another user it is made with that user's rights, so that a link which that user
    has put on the way leads to nothing new.  Only the topmost, where that user may make none, is
    made by root and given away: in a folder that is got to by nobody's links but root's.
    """
    if user is None:
        _make(path)
        return
    try:
        with rights_of(user):
            _make(path)
    except PermissionError:
        _chown_topmost(path, user)
        with rights_of(user):
            _make(path)


def _make(path: Path) -> None:
    for folder in reversed([path, *path.parents]):
        try:
            folder.mkdir(mode=PRIVATE_MODE)
        except OSError:
            # What is there is none of our business, though we might not have been let make it.
            if not folder.is_dir():
                raise


@contextmanager
def rights_of(user: UnixUser | None) -> Iterator[None]:
    """Work with files as that user, in this thread; nothing in here may wait.  None is our own.

    The kernel takes root's rights over files away with the change, and gives them back.  Root's
    groups are left off too: they may write where that user may not.
    """
    if user is None:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    with _groups_lock:
        groups = os.getgroups()
        try:
            os.setgroups(sorted(user.groups))
            libc.setfsgid(user.gid)
            libc.setfsuid(user.uid)
            if libc.setfsuid(-1) != user.uid:  # it tells who we are, and changes nothing
                raise _refused("cannot work with files as another user")
            yield
        finally:
            libc.setfsuid(os.geteuid())
            libc.setfsgid(os.getegid())
            os.setgroups(groups)


def _chown_topmost(path: Path, user: UnixUser) -> None:
    """Make the first folder on the way that is missing, and give it to the user.

    Nothing is made below a folder where the user can put what it likes.
    """
    parts = deque(path.parts[1:])
    links = 0
    with ExitStack() as handles:

        def enter(name: str, at: int | None) -> int:
            handle = os.open(name, _OPEN_FOLDER, dir_fd=at)
            handles.callback(os.close, handle)
            return handle

        root = here = enter("/", None)
        while parts:
            _check_not_writable_by(here, user)
            name = parts.popleft()
            try:
                found = os.stat(name, dir_fd=here, follow_symlinks=False)
            except FileNotFoundError:
                os.mkdir(name, PRIVATE_MODE, dir_fd=here)
                _chown(enter(name, here), user)
                return
            if not stat.S_ISLNK(found.st_mode):
                here = enter(name, here)
                continue
            links += 1
            if links > _MAX_LINKS or found.st_uid != ROOT or not _only_root_writes(os.fstat(here)):
                raise _refused("a link of another user is on the way")
            target = os.readlink(name, dir_fd=here)
            here = root if target.startswith("/") else here
            parts.extendleft(reversed([part for part in target.split("/") if part]))


def _refused(why: str) -> PermissionError:
    return PermissionError(errno.EPERM, why)


def _check_not_writable_by(folder: int, user: UnixUser) -> None:
    found = os.fstat(folder)
    writes = _allows(user, found, os.W_OK) and not found.st_mode & stat.S_ISVTX
    if writes or found.st_uid == user.uid:
        raise _refused("the folder that it should be made in can be changed by that user")


def _only_root_writes(folder: os.stat_result) -> bool:
    """Whether a name in that folder that is root's was put there by root."""
    open_to_others = folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return folder.st_uid == ROOT and not (open_to_others and not folder.st_mode & stat.S_ISVTX)


def _chown(folder: int, user: UnixUser) -> None:
    # Whoever owns the folder above could have put another one in its place by now.
    if os.fstat(folder).st_uid != ROOT or os.listdir(folder):
        raise _refused("a folder that was just made is another")
    os.fchown(folder, user.uid, user.gid)


def can_access(user: UnixUser, path: Path, wanted: int) -> bool:
    """Whether the user has these rights (`os.R_OK | ...`) at a path, and may get there.

    Goes by owner, group and mode alone.
    """
    try:
        real = path.resolve(strict=True)
        return _allows(user, real.stat(), wanted) and all(
            _allows(user, folder.stat(), os.X_OK) for folder in real.parents
        )
    except OSError:
        return False


def _allows(user: UnixUser, found: os.stat_result, wanted: int) -> bool:
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid == user.uid:
        mode >>= 6
    elif found.st_gid in user.groups:
        mode >>= 3
    return mode & wanted == wanted
