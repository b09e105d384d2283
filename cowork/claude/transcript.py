"""The files that the CLI keeps sessions in: whether a turn is in there, and how they travel.

Where its disk is full the CLI answers all the same.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, suppress
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

from cowork.claude.deferred_tool import with_deferred_tool
from cowork.runtime.unix_user import PRIVATE_MODE, UnixUser, rights_of

# A directory's name that is longer is cut to this by the CLI, and a hash of its own put behind.
NAME_LIMIT = 200
_PRIVATE_FILE = 0o600
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What is compared of two transcripts that should begin alike: so much before the place.
_TAIL_BYTES = 1024
# Where a call is looked for that was made just now, with all that is handed to its tool.
CALL_BYTES = 4 * 2**20
# Of a transcript that is read as a whole; longer ones are not gone on with in mid-turn.
DEFER_LIMIT_BYTES = 256 * 2**20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Transcripts:
    """The files that the CLI keeps its sessions in: `<config>/projects/<directory>/<id>.jsonl`.

    They are read and written with the rights of `cli_user`, where the CLI runs as another user.
    """

    def __init__(self, config: Path, cli_user: UnixUser | None = None) -> None:
        self._config = config
        self._projects = config / "projects"
        self._cli_user = cli_user

    def size(self, cwd: str, session_id: str) -> int | None:
        """Bytes of a session's transcript; None where there is none, or it is kept elsewhere."""
        path = self._path(cwd, session_id)
        try:
            return None if path is None else os.stat(path).st_size  # noqa: PTH116 - with each turn
        except OSError:
            return None

    def lacks_turn(self, cwd: str, session_id: str, before: int | None) -> bool:
        """Whether a turn that was answered is not in the transcript, which had `before` bytes.

        It has grown by whole lines otherwise.  Where it is not found nothing is missing: a CLI
        that keeps it elsewhere keeps it, and one that has none says so when it is resumed.
        """
        path = self._path(cwd, session_id)
        try:
            if path is None or (size := os.stat(path).st_size) <= (before or 0):  # noqa: PTH116
                return path is not None
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123
                file.seek(size - 1)
                return file.read(1) != b"\n"
        except OSError:
            return False

    def read(self, cwd: str, session_id: str, begin: int, limit: int) -> tuple[str, bytes]:
        """What identifies what stands before `begin` in a transcript, and whole lines behind it.

        At most `limit` bytes of them, as far as there are.  Raises OSError, for a link too.
        """
        path = self._path(cwd, session_id)
        if path is None:
            raise FileNotFoundError(session_id)
        with rights_of(self._cli_user):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor
                file.seek(max(begin - _TAIL_BYTES, 0))
                before = file.read(min(begin, _TAIL_BYTES))
                data = file.read(limit)
        return tail_of(before), data[: data.rfind(b"\n") + 1]

    def has_call(self, cwd: str, session_id: str, tool_use_id: str) -> bool:
        """Whether a tool's call stands at the end of the session's transcript."""
        size = self.size(cwd, session_id)
        if size is None:
            return False
        try:
            _, rows = self.read(cwd, session_id, max(size - CALL_BYTES, 0), CALL_BYTES)
        except OSError:
            return False
        return tool_use_id.encode() in rows

    def defer_tool(self, cwd: str, session_id: str, tool_use_id: str) -> bool:
        """Have the next process ask about a call again that was not answered; False: it cannot.

        Raises OSError, for a link too.
        """
        size = self.size(cwd, session_id)
        if size is None or size > DEFER_LIMIT_BYTES:
            return False
        _, rows = self.read(cwd, session_id, 0, DEFER_LIMIT_BYTES)
        found = with_deferred_tool(rows, tool_use_id)
        if found is not None:
            self.write(cwd, session_id, found)
        return found is not None

    def write(self, cwd: str, session_id: str, data: bytes) -> None:
        """Put a transcript where the CLI looks for it, in the place of what is there.

        Follows no link below the CLI's own folder.  Raises OSError.
        """
        if not _ID.fullmatch(session_id) or len(folder_name(cwd)) > NAME_LIMIT:
            raise FileNotFoundError(session_id)
        with rights_of(self._cli_user):
            self._config.mkdir(mode=PRIVATE_MODE, parents=True, exist_ok=True)
            with ExitStack() as handles:
                at = os.open(self._config, _FOLDER & ~os.O_NOFOLLOW)
                handles.callback(os.close, at)
                for name in ("projects", folder_name(cwd)):
                    at = _enter(at, name)
                    handles.callback(os.close, at)
                _replace(at, f"{session_id}.jsonl", data)

    def _path(self, cwd: str, session_id: str) -> str | None:
        name = folder_name(cwd)
        file = f"{session_id}.jsonl"
        if len(name) <= NAME_LIMIT:
            return f"{self._projects}/{name}/{file}"
        found = self._projects.glob(f"{name[:NAME_LIMIT]}-*/{file}")
        return next(map(str, found), None)


def tail_of(data: bytes) -> str:
    """What identifies the transcript that ends with these bytes."""
    return blake2b(data[-_TAIL_BYTES:], digest_size=16).hexdigest()


def _enter(at: int, name: str) -> int:
    """The folder of that name, made if it is not there."""
    with suppress(FileExistsError):
        os.mkdir(name, PRIVATE_MODE, dir_fd=at)
    return os.open(name, _FOLDER, dir_fd=at)


def _replace(at: int, name: str, data: bytes) -> None:
    draft = f".{name}.{uuid4().hex}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(draft, flags, _PRIVATE_FILE, dir_fd=at)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(data)
        os.rename(draft, name, src_dir_fd=at, dst_dir_fd=at)
    except OSError:
        os.unlink(draft, dir_fd=at)
        raise


@lru_cache(maxsize=1024)
def folder_name(cwd: str) -> str:
    """`cwd` as the CLI names it: what is no letter or digit of ASCII is a `-`."""
    cwd = os.path.realpath(cwd)
    # Two for one outside the basic plane: JavaScript counts halves.
    return re.sub(r"[^a-zA-Z0-9]", lambda found: "--" if found[0] > "\uffff" else "-", cwd)
