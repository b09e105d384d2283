"""Runs `xo-cowork` as a shell does: in a pipe, or on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from tests import canaries
from tests.patience import PATIENCE_S
from tests.serving import ROOT

KEY = "the-key-of-the-terminals-tests-0123456789"
COMMAND = [sys.executable, "-m", "cowork"]
# Colours, and what moves the cursor and clears what was drawn.
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][A-Z0-9]|\r(?!\n)")


class Shell:
    """Commands to the server at `url`, with its key in the environment."""

    def __init__(self, url: str, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm-256color",
            "COWORK_URL": url,
            "COWORK_KEY": KEY,
        }

    def pipe(
        self, *words: str, given: bytes | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """The command in a pipe, to its end; `given` is its standard input."""
        done = subprocess.run(
            [*COMMAND, *words],
            check=False,
            capture_output=True,
            cwd=self.folder,
            env={**self.environ, **environ},
            timeout=PATIENCE_S,
            **({"stdin": subprocess.DEVNULL} if given is None else {"input": given}),  # type: ignore[arg-type]
        )
        canaries.search(f"xo-cowork {words[0]}", done.stdout + done.stderr)
        said = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in said[1]
        return subprocess.CompletedProcess(words, done.returncode, *said)

    def json(self, *words: str) -> Any:
        """What a command that succeeds prints for programs."""
        done = self.pipe(*words, "--json")
        assert (done.returncode, done.stderr) == (0, ""), done
        return json.loads(done.stdout)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """The command in a pipe, while it runs; killed at the test's end if it still does."""
        child = subprocess.Popen(
            [*COMMAND, *words],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(_end, child)
        return child

    def terminal(self, *words: str, columns: int = 80, rows: int = 30) -> Terminal:
        """The command on a terminal of its own."""
        made = Terminal([*COMMAND, *words], self.environ, self.folder, columns, rows)
        self._stack.callback(made.close)
        return made


def _end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate()


class Terminal:
    """A command on a terminal: what it prints is read here, what a person types is written."""

    def __init__(
        self, command: list[str], environ: dict[str, str], folder: Path, columns: int, rows: int
    ) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.child = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=environ,
            start_new_session=True,
            # Its controlling terminal, or Ctrl-C would be a character; one system call, no lock.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(slave)
        self.raw = b""
        self._seen = 0

    @property
    def text(self) -> str:
        """All it has printed, without what draws it."""
        return ESCAPES.sub("", self.raw.decode(errors="replace")).replace("\r\n", "\n")

    def wait(self, said: str) -> str:
        """Wait until it prints this, behind what was waited for before; all of that."""
        deadline = time.monotonic() + PATIENCE_S
        while (at := self.text.find(said, self._seen)) < 0:
            assert self._read(deadline), f"{said!r} was not printed:\n{self.text[self._seen :]}"
        before, self._seen = self._seen, at + len(said)
        return self.text[before : self._seen]

    def type(self, keys: str) -> None:
        """What a person types, Ctrl-C and Ctrl-D too."""
        os.write(self._master, keys.encode())

    def end(self) -> int:
        """Read to its end; the exit status."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline):
            pass
        assert time.monotonic() < deadline, f"it did not end:\n{self.text}"
        canaries.search("a terminal", self.raw)
        assert "Traceback" not in self.text
        return self.child.wait(PATIENCE_S)

    def close(self) -> None:
        """End it, and its terminal."""
        self.child.kill()
        self.child.wait()
        os.close(self._master)

    def _read(self, deadline: float) -> bool:
        """Take what it has printed, waiting for it; false at its end, or too late."""
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._master], [], [], left)[0]:
            return False
        block = b""
        with suppress(OSError):  # EIO: the last one has closed the other side
            block = os.read(self._master, 65536)
        self.raw += block
        return bool(block)
