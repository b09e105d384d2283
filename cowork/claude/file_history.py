"""The CLI's backups of files that a session's edit tools changed: `<config>/file-history/<id>/`.

A session that goes on under another id needs them too, or its files cannot be restored any more.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from cowork.gevent_compat import run_in_native_thread
from cowork.log import logger
from cowork.runtime.unix_user import PRIVATE_MODE, UnixUser, rights_of

log = logger(__name__)

FOLDER = "file-history"
# Of one session that are copied; one that has more goes on without.
MAX_FILES = 10_000
MAX_BYTES = 2**30
_PIECE_BYTES = 2**20
_PRIVATE_FILE = 0o600
_ALL_RIGHTS = 0o777  # and no set-user-id
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class FileHistories:
    """The backups of all sessions, read and written with the rights of `cli_user`.

    Those of the CLI's own user, where it runs as another than the server.
    """

    def __init__(self, config: Path, cli_user: UnixUser | None = None) -> None:
        self._config = config
        self._cli_user = cli_user

    def copy(self, session_id: str, new_id: str) -> None:
        """Have session `new_id` have the backups of the other one, if there are any.

        Both are ids that we made or the CLI told.  No link is followed.  Raises OSError.
        """
        with ExitStack() as handles:
            with rights_of(self._cli_user):
                found = self._open(session_id, handles)
                if found is None:
                    return
                folder, source = found
                sizes = _plain_files(source)
                if len(sizes) > MAX_FILES or sum(sizes.values()) > MAX_BYTES:
                    log.warning("too many backups of files to copy", session_id=session_id)
                    return
                os.mkdir(new_id, PRIVATE_MODE, dir_fd=folder)
                target = os.open(new_id, _OPEN_FOLDER, dir_fd=folder)
                handles.callback(os.close, target)
            for name in sizes:
                self._copy_file(name, source, target)

    def _open(self, session_id: str, handles: ExitStack) -> tuple[int, int] | None:
        """The folder of all backups and that of the session's; None where there is none."""
        opened: list[int] = []
        try:
            # The operator may have put the CLI's own folder elsewhere.
            at = os.open(self._config, _OPEN_FOLDER & ~os.O_NOFOLLOW)
            handles.callback(os.close, at)
            for name in (FOLDER, session_id):
                at = os.open(name, _OPEN_FOLDER, dir_fd=at)
                handles.callback(os.close, at)
                opened.append(at)
        except FileNotFoundError:
            return None
        return opened[0], opened[1]

    def _copy_file(self, name: str, source: int, target: int) -> None:
        """Copy a plain file; whatever else is there is none of the CLI's."""
        with ExitStack() as handles:
            with rights_of(self._cli_user):
                try:
                    old = os.open(name, _READ, dir_fd=source)
                except FileNotFoundError:
                    return
                handles.callback(os.close, old)
                found = os.fstat(old)
                if not stat.S_ISREG(found.st_mode):
                    return
                new = os.open(name, _WRITE, _PRIVATE_FILE, dir_fd=target)
                handles.callback(os.close, new)
            # Who has them open needs no rights, and the loop need not wait for the disk.
            run_in_native_thread(lambda: _copy_bytes(old, new))
            with rights_of(self._cli_user):
                # The CLI leaves a file alone that has the size of its backup and is not newer, and
                # gives it the rights of that.
                os.fchmod(new, stat.S_IMODE(found.st_mode) & _ALL_RIGHTS)
                os.utime(new, ns=(found.st_atime_ns, found.st_mtime_ns))


def _plain_files(folder: int) -> dict[str, int]:
    """The sizes of the files in it, by name; a few more than are copied are enough to know."""
    with os.scandir(folder) as entries:
        return {
            entry.name: entry.stat(follow_symlinks=False).st_size
            for entry in islice(entries, MAX_FILES + 1)
            if entry.is_file(follow_symlinks=False)
        }


def _copy_bytes(old: int, new: int) -> None:
    left = MAX_BYTES
    while left > 0 and (piece := os.read(old, min(_PIECE_BYTES, left))):
        left -= len(piece)
        while piece:
            piece = piece[os.write(new, piece) :]
