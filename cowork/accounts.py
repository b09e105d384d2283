"""The Unix account that the CLI runs as, where that is not the server's own."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

ROOT = 0
PRIVATE = 0o700
CAP_SYS_PTRACE = 19


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine; `groups` are the numbers of all its groups."""

    name: str
    uid: int
    gid: int
    home: Path
    shell: str
    groups: frozenset[int]


def other(name: str) -> Account:
    """The account that a server running as root can give the CLI to; raises ValueError."""
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
    return Account(name, found.pw_uid, found.pw_gid, home, shell, groups)


def sees_others(status_file: Path = Path("/proc/self/status")) -> bool:
    """Whether this process may read the environment of another user's processes."""
    try:
        status = status_file.read_text()
    except OSError:
        return False
    held = next((line for line in status.splitlines() if line.startswith("CapEff:")), "CapEff: 0")
    return bool(int(held.split()[1], 16) >> CAP_SYS_PTRACE & 1)


def make_folder(path: Path, account: Account | None) -> None:
    """Make a folder and those above it that are missing, for its user alone; raises OSError."""
    for folder in reversed([path, *path.parents]):
        try:
            folder.mkdir(mode=PRIVATE)
        except FileExistsError:
            continue
        if account is not None:
            _give(folder, account)


def _give(folder: Path, account: Account) -> None:
    # Whoever owns the folder above could have put a link in its place by now.
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchown(handle, account.uid, account.gid)
    finally:
        os.close(handle)


def may(account: Account, path: Path, wanted: int) -> bool:
    """Whether the account has these rights (`os.R_OK | ...`) at a path, and may get there.

    Goes by owner, group and mode alone.
    """
    try:
        real = path.resolve(strict=True)
        return _allows(account, real.stat(), wanted) and all(
            _allows(account, folder.stat(), os.X_OK) for folder in real.parents
        )
    except OSError:
        return False


def _allows(account: Account, found: os.stat_result, wanted: int) -> bool:
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid == account.uid:
        mode >>= 6
    elif found.st_gid in account.groups:
        mode >>= 3
    return mode & wanted == wanted
