"""Sessions on disk, where and when the real CLI keeps them; of its lines, the two that matter."""

# pathlib costs 10 ms at a start that takes 20.
# ruff: noqa: PTH103, PTH109, PTH110, PTH111, PTH118, PTH120, PTH123

from __future__ import annotations

import fcntl
import os
import time

from . import json_text
from .scenes import to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LATE_S = 0.06
_NAME_LIMIT = 200


class Transcript:
    """The conversation of one session.

    `questions` holds every question of it, those from disk and those of this process.  Without
    CLAUDE_CODE_EAGER_FLUSH an answer reaches the disk 60 ms after its result, as observed.  A
    directory that cannot be written turns keeping off and nothing else.  `requests` is how many
    the session's processes had sent to the model when the last clean end was written down.
    """

    def __init__(self, session: str, version: str) -> None:
        self.questions: list[str] = []
        self.requests = 0
        self.cwd = os.path.realpath(os.getcwd())
        self._session = session
        self._version = version
        self._path = os.path.join(folder(self.cwd), f"{session}.jsonl")
        self._eager = os.environ.get("CLAUDE_CODE_EAGER_FLUSH") == "1"
        self._late: list[tuple[float, str]] = []
        self._parent: str | None = None
        self._turn_fd: int | None = None

    def exists(self) -> bool:
        """Whether this session has been spoken to, from this directory."""
        return os.path.exists(self._path)

    def load(self) -> None:
        """Remember what was said before."""
        with open(self._path, encoding="utf-8", errors="replace") as file:
            for line in file:
                self._recall(line)

    def ask(self, text: str, uuid: str) -> None:
        """Keep a question."""
        self.questions.append(text)
        self._append("user", {"role": "user", "content": text}, uuid)

    def answer(self, text: str, uuid: str) -> None:
        """Keep an answer, or as much as there was of one."""
        content = [{"type": "text", "text": text}]
        self._append("assistant", {"role": "assistant", "content": content}, uuid)

    def keep_requests(self, count: int) -> None:
        """What has been spent, as the real CLI writes it at a clean end: no kill -9 gets here."""
        if self.exists():
            self._write(
                to_json({"type": "cost-state", "sessionId": self._session, "requests": count})
                + "\n"
            )

    def flush(self, *, now: bool = False) -> None:
        """Write the answers whose time has come; with `now`, all of them."""
        while self._late and (now or self._late[0][0] <= time.monotonic()):
            self._write(self._late.pop(0)[1])

    @property
    def wait_s(self) -> float | None:
        """Seconds until `flush` has something to do, None for never."""
        return max(0.0, self._late[0][0] - time.monotonic()) if self._late else None

    def enter(self) -> bool:
        """A turn begins; False when another process is in a turn of this session.

        The lock lives as long as this process or the turn, so a kill leaves none behind.
        """
        try:
            self._turn_fd = os.open(self._path, os.O_RDONLY)
            fcntl.flock(self._turn_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def leave(self) -> None:
        """The turn is over."""
        if self._turn_fd is not None:
            os.close(self._turn_fd)
            self._turn_fd = None

    def _recall(self, line: str) -> None:
        try:
            entry = json_text.loads(line)
        except ValueError:
            return
        self._parent = entry.get("uuid", self._parent)
        self.requests = entry.get("requests", self.requests)
        content = (entry.get("message") or {}).get("content")
        if entry.get("type") == "user" and isinstance(content, str):
            self.questions.append(content)

    def _append(self, kind: str, message: dict[str, Any], uuid: str) -> None:
        entry = {
            "parentUuid": self._parent,
            "isSidechain": False,
            "type": kind,
            "message": message,
            "uuid": uuid,
            "timestamp": timestamp(),
            "cwd": self.cwd,
            "sessionId": self._session,
            "version": self._version,
        }
        if kind == "user":
            entry["promptSource"] = "sdk"
        self._parent = uuid
        line = to_json(entry) + "\n"
        if kind == "user" or self._eager:
            self.flush(now=True)
            self._write(line)
        else:
            self._late.append((time.monotonic() + _LATE_S, line))

    def _write(self, line: str) -> None:
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(fd, line.encode())
            finally:
                os.close(fd)
        except OSError:
            return


def home() -> str:
    """Where the CLI keeps its things."""
    return os.environ.get("CLAUDE_CONFIG_DIR") or os.path.join(os.path.expanduser("~"), ".claude")


def folder(cwd: str) -> str:
    """The directory of a working directory's sessions.

    Every character but A-Z, a-z and 0-9 becomes `-` (two for one outside the BMP: JavaScript
    counts halves).  The hash that ends a long name is not the real one's.
    """
    name = "".join(
        char if char.isascii() and char.isalnum() else "-" * (2 if char > "\uffff" else 1)
        for char in cwd
    )
    if len(name) > _NAME_LIMIT:
        name = f"{name[:_NAME_LIMIT]}-{sum(map(ord, cwd)):x}"
    return os.path.join(home(), "projects", name)


def timestamp() -> str:
    """Now, as events and transcripts write it: `2026-01-31T12:00:00.000Z`."""
    now = time.time()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    return f"{seconds}.{int(now % 1 * 1000):03d}Z"
