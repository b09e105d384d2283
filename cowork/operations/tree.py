"""Copies a tree of files as it is: modes, times, links as links; nothing is read through a link.

What is copied may be a folder in which a model's tools put what they like: no link on the way is
followed, and files are opened with the rights of the user whose folder it is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cowork.runtime.unix_user import PRIVATE_MODE, UnixUser, rights_of

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE_FILE = 0o600
_RIGHTS = 0o777  # and no set-user-id
_PIECE_BYTES = 2**20
# A descriptor or two for each level.
MAX_DEPTH = 200
# Of what is left out, so many are named.
MAX_NAMED = 20
LineEdit = Callable[[bytes], bytes]


@dataclass(slots=True)
class Copied:
    """What was copied; `sums` are the files' paths below the tree and their SHA-256.

    `left_out` names what was not, `unreadable` counts what of it could not be read.
    """

    files: int = 0
    links: int = 0
    folders: int = 0
    size: int = 0
    unreadable: int = 0
    left_out: list[str] = field(default_factory=list)
    sums: list[tuple[str, str]] = field(default_factory=list)

    def leave_out(self, path: str, why: str) -> None:
        if len(self.left_out) < MAX_NAMED:
            self.left_out.append(f"{path}: {why}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeCopy:
    """How a tree is copied.

    `wanted` says of each path below the tree whether it is copied; `renamed` what a path is called
    in the copy; `edit` gives, for a path, what becomes of each of its lines (then whole lines alone
    are copied), or None.
    """

    read_as: UnixUser | None = None
    write_as: UnixUser | None = None
    keep_links: bool = True
    wanted: Callable[[str], bool] = lambda _path: True
    renamed: Callable[[str], str] = lambda path: path
    edit: Callable[[str], LineEdit | None] = lambda _path: None

    def copy(self, source: Path, target: Path) -> Copied:
        """Copy what is in `source` to the folder `target`, which is made where there is none.

        Nothing in `target` is replaced.  Raises OSError.
        """
        done = Copied()
        with ExitStack() as handles:
            with rights_of(self.read_as):
                # The operator may have put the root elsewhere.
                old = os.open(source, FOLDER & ~os.O_NOFOLLOW)
                handles.callback(os.close, old)
            with rights_of(self.write_as):
                target.mkdir(mode=PRIVATE_MODE, parents=True, exist_ok=True)
                new = os.open(target, FOLDER & ~os.O_NOFOLLOW)
                handles.callback(os.close, new)
            self._copy_folder(old, new, "", done)
        return done

    def measure(self, source: Path) -> tuple[int, int]:
        """How many files there are to copy, and their bytes; raises OSError."""
        with rights_of(self.read_as):
            handle = os.open(source, FOLDER & ~os.O_NOFOLLOW)
        try:
            sizes = list(self._sizes(handle, ""))
        finally:
            os.close(handle)
        return len(sizes), sum(sizes)

    def _sizes(self, at: int, place: str) -> Iterator[int]:
        for name in os.listdir(at):
            path = f"{place}/{name}" if place else name
            with suppress(OSError):  # the copy says so
                if not self.wanted(path):
                    continue
                with rights_of(self.read_as):
                    found = os.lstat(name, dir_fd=at)
                    handle = os.open(name, FOLDER, dir_fd=at) if stat.S_ISDIR(found.st_mode) else -1
                if stat.S_ISREG(found.st_mode):
                    yield found.st_size
                elif handle >= 0:
                    try:
                        if path.count("/") < MAX_DEPTH:
                            yield from self._sizes(handle, path)
                    finally:
                        os.close(handle)

    def _copy_folder(self, old: int, new: int, place: str, done: Copied) -> None:
        for name in sorted(os.listdir(old)):
            path = f"{place}/{name}" if place else name
            if not self.wanted(path):
                continue
            try:
                with rights_of(self.read_as):
                    found = os.lstat(name, dir_fd=old)
            except FileNotFoundError:
                continue  # it went away meanwhile
            self._copy_entry(old, new, path, found, done)

    def _copy_entry(
        self, old: int, new: int, path: str, found: os.stat_result, done: Copied
    ) -> None:
        if stat.S_ISDIR(found.st_mode):
            self._copy_subfolder(old, new, path, found, done)
        elif stat.S_ISREG(found.st_mode):
            self._copy_file(old, new, path, done)
        elif stat.S_ISLNK(found.st_mode) and self.keep_links:
            self._copy_link(old, new, path, done)
        else:
            kind = "link" if stat.S_ISLNK(found.st_mode) else "socket, pipe or device"
            done.leave_out(path, f"it is a {kind}")

    def _copy_subfolder(
        self, old: int, new: int, path: str, found: os.stat_result, done: Copied
    ) -> None:
        name, new_name = _last(path), _last(self.renamed(path))
        if path.count("/") >= MAX_DEPTH:
            done.unreadable += 1
            done.leave_out(path, "it is too deep")
            return
        with ExitStack() as handles:
            with _noting(path, done, handles) as noted, rights_of(self.read_as):
                noted.append(os.open(name, FOLDER, dir_fd=old))
            if not noted:
                return
            with rights_of(self.write_as):
                with suppress(FileExistsError):
                    os.mkdir(new_name, PRIVATE_MODE, dir_fd=new)
                target = os.open(new_name, FOLDER, dir_fd=new)
                handles.callback(os.close, target)
            self._copy_folder(noted[0], target, path, done)
            with rights_of(self.write_as):
                os.fchmod(target, stat.S_IMODE(found.st_mode) & _RIGHTS)
                os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
        done.folders += 1

    def _copy_link(self, old: int, new: int, path: str, done: Copied) -> None:
        with suppress(FileNotFoundError):
            with rights_of(self.read_as):
                leads_to = os.readlink(_last(path), dir_fd=old)
            with rights_of(self.write_as):
                os.symlink(leads_to, _last(self.renamed(path)), dir_fd=new)
            done.links += 1

    def _copy_file(self, old: int, new: int, path: str, done: Copied) -> None:
        with ExitStack() as handles:
            with _noting(path, done, handles) as noted, rights_of(self.read_as):
                noted.append(os.open(_last(path), _READ, dir_fd=old))
            if not noted:
                return
            source = noted[0]
            found = os.fstat(source)
            if not stat.S_ISREG(found.st_mode):
                return  # another thing has taken its place
            with rights_of(self.write_as):
                target = os.open(_last(self.renamed(path)), _WRITE, _PRIVATE_FILE, dir_fd=new)
                handles.callback(os.close, target)
            edit = self.edit(path)
            # One that grows without end is copied up to what it was.
            pieces = _pieces(source, found.st_size)
            if edit is not None:
                pieces = (edit(line) for line in _whole_lines(pieces))
            size, digest = _write(target, pieces)
            with rights_of(self.write_as):
                # The CLI goes by the times of its backups of files.
                os.fchmod(target, stat.S_IMODE(found.st_mode) & _RIGHTS)
                os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
        done.files += 1
        done.size += size
        done.sums.append((self.renamed(path), digest))


def _last(path: str) -> str:
    return path.rpartition("/")[2]


@contextmanager
def _noting(path: str, done: Copied, handles: ExitStack) -> Iterator[list[int]]:
    """Collect what is opened, to be closed with the rest; note what cannot be."""
    opened: list[int] = []
    try:
        yield opened
    except FileNotFoundError:
        pass  # it went away meanwhile
    except OSError as fault:
        done.unreadable += 1
        done.leave_out(path, fault.strerror or "it cannot be read")
    for handle in opened:
        handles.callback(os.close, handle)


def _pieces(source: int, size: int) -> Iterator[bytes]:
    while size > 0 and (piece := os.read(source, min(_PIECE_BYTES, size))):
        size -= len(piece)
        yield piece


def _whole_lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The lines with their ends; what follows the last end is being written."""
    rest: list[bytes] = []
    for piece in pieces:
        *lines, last = piece.split(b"\n")
        for line in lines:
            yield b"".join([*rest, line, b"\n"])
            rest = []
        rest.append(last)


def _write(target: int, pieces: Iterator[bytes]) -> tuple[int, str]:
    """Bytes written and their SHA-256."""
    size, digest = 0, sha256()
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
        left = memoryview(piece)
        while left:
            left = left[os.write(target, left) :]
    return size, digest.hexdigest()
