"""Removes what the CLI keeps of a session: transcript, sub-agents, checkpoints, tool results.

Only in the places that are listed here, of names that begin with the session's id, and no link is
followed on the way: what a tool has put in the place of a folder leads to nothing else.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cowork.runtime.unix_user import UnixUser, rights_of

# In the CLI's own folder; `*` is any one folder.  What the demo model makes it write is seen by
# tests/e2e/test_deleting.py; the others are for checkpoints, tasks, images and versions before.
PLACES = (
    "projects/*",
    "file-history",
    "session-env",
    "tasks",
    "todos",
    "image-cache",
    "uploads",
    "debug",
    "usage-data/session-meta",
    "usage-data/facets",
)
# Looked at or removed in one go; what is left waits for the next.
MAX_ENTRIES = 200_000
TIMEOUT_S = 60.0
MAX_DEPTH = 64
# Between two pauses, so that a large folder holds up nobody.
SLICE_S = 0.002
PAUSE_S = 0.002
_MAX_PASSES = 3
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotRemoved(Exception):
    """Something of a session is still there; the sentence says what and why."""


@dataclass(slots=True)
class _Walk:
    """One removal: what it may still do, and the first thing that it could not."""

    session_id: str
    deadline: float
    left: int
    fault: str | None = None

    def count(self) -> None:
        self.left -= 1
        if self.left < 0 or time.monotonic() > self.deadline:
            raise NotRemoved(self.fault or "it takes too long")

    def is_ours(self, name: str) -> bool:
        """Whether an entry is the session's: its id, or a file or folder named after it."""
        return name[: len(self.session_id)] == self.session_id and name[
            len(self.session_id) : len(self.session_id) + 1
        ] in ("", ".", "-")

    @contextmanager
    def noting(self, place: str) -> Iterator[None]:
        """Go on behind what cannot be removed; what is gone already is what was wanted."""
        try:
            yield
        except FileNotFoundError:
            pass
        except OSError as fault:
            self.fault = self.fault or f"{place}: {fault.strerror}"


class SessionFiles:
    """The CLI's files, in its folder and in its temporary ones.

    `cli_user` is whose rights they are removed with, where the CLI runs as another user.
    """

    def __init__(
        self, config: Path, temporary: Sequence[Path], cli_user: UnixUser | None = None
    ) -> None:
        self._config = config
        self._uid = os.geteuid() if cli_user is None else cli_user.uid
        self._temporary = [folder / f"claude-{self._uid}" for folder in temporary]
        self._cli_user = cli_user

    def remove(self, session_id: str, unless: list[bool] | None = None) -> None:
        """Remove what there is of the session; its process has to be over.

        Gives way to others every few milliseconds.  Raises `NotRemoved` where something is left,
        also after a minute, or as soon as `unless` is not empty.
        """
        if not _ID.fullmatch(session_id):
            raise NotRemoved("it is no session's id")
        walk = _Walk(session_id, time.monotonic() + TIMEOUT_S, MAX_ENTRIES)
        steps = self._all(walk)
        try:
            while self._some(steps):
                if unless:
                    raise NotRemoved("the server stops")
                time.sleep(PAUSE_S)
        finally:
            steps.close()
        if walk.fault is not None:
            raise NotRemoved(walk.fault)

    def _some(self, steps: Iterator[None]) -> bool:
        """Go on for a slice; whether there is more to do."""
        until = time.monotonic() + SLICE_S
        with rights_of(self._cli_user):
            for _ in steps:
                if time.monotonic() >= until:
                    return True
        return False

    def _all(self, walk: _Walk) -> Generator[None, None, None]:
        for place in PLACES:
            yield from self._in_place(walk, self._config, place.split("/"))
        for folder in self._temporary:
            # Anybody may have made a folder of that name in `/tmp`.
            with suppress(OSError):
                if os.lstat(folder).st_uid == self._uid:
                    yield from self._in_place(walk, folder.parent, [folder.name, "*"])

    def _in_place(self, walk: _Walk, root: Path, parts: Sequence[str]) -> Iterator[None]:
        try:
            # The operator may have put it elsewhere; what lies in it is the CLI's.
            handle = os.open(root, _FOLDER & ~os.O_NOFOLLOW)
        except OSError:
            return  # nothing was ever kept there, or it cannot be seen by the CLI either
        try:
            yield from self._below(walk, handle, str(root), parts)
        finally:
            os.close(handle)

    def _below(self, walk: _Walk, at: int, place: str, parts: Sequence[str]) -> Iterator[None]:
        """Remove what is the session's in those folders below `at`."""
        if not parts:
            yield from _remove_named(walk, at, place)
            return
        names = _folders(at) if parts[0] == "*" else iter(parts[:1])
        for name in names:
            walk.count()
            yield
            with walk.noting(f"{place}/{name}"):
                handle = _opened(name, at)
                try:
                    yield from self._below(walk, handle, f"{place}/{name}", parts[1:])
                finally:
                    os.close(handle)


def _opened(name: str, at: int) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=at)
    except NotADirectoryError as fault:
        raise OSError(fault.errno, "it is a link, or no folder") from fault


def _folders(at: int) -> Iterator[str]:
    with os.scandir(at) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield entry.name


def _remove_named(walk: _Walk, at: int, place: str) -> Iterator[None]:
    """Remove the session's entries of one folder."""
    with os.scandir(at) as entries:
        for entry in entries:
            walk.count()
            yield
            if walk.is_ours(entry.name):
                yield from _remove(walk, at, entry.name, place, MAX_DEPTH)


def _remove(walk: _Walk, at: int, name: str, place: str, depth: int) -> Iterator[None]:
    """Remove an entry, a folder with all that is in it; of a link, the link."""
    walk.count()
    yield
    with walk.noting(f"{place}/{name}"):
        found = os.lstat(name, dir_fd=at)
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(name, dir_fd=at)
            return
        if found.st_dev != os.fstat(at).st_dev or not depth:
            raise OSError(0, "another file system, or too deep")
        handle = _opened(name, at)
        try:
            for _ in range(_MAX_PASSES):  # whoever reads a folder that changes may miss some of it
                yield from _empty(walk, handle, f"{place}/{name}", depth - 1)
                if _is_empty(handle):
                    break
        finally:
            os.close(handle)
        os.rmdir(name, dir_fd=at)


def _empty(walk: _Walk, at: int, place: str, depth: int) -> Iterator[None]:
    with os.scandir(at) as entries:
        for entry in entries:
            yield from _remove(walk, at, entry.name, place, depth)


def _is_empty(at: int) -> bool:
    with os.scandir(at) as entries:
        return next(entries, None) is None
