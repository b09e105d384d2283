"""The real CLI without the server: a fresh process for each question, and a resident one."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

from bench import proc
from bench.server import ROOT
from cowork.claude import command
from cowork.claude.process.launcher import find_setpriv
from cowork.claude.stream_json.protocol import control_request, encode, user_message

TIMEOUT = 60.0
BLOCK = 64 * 1024
_TEXT = b'"type":"text_delta"'
_RESULT = b'"type":"result"'
_READY = b'"type":"control_response"'
_IDLE = b'"state":"idle"'


@dataclass(frozen=True, slots=True)
class Timing:
    """One turn, in milliseconds from when it was asked."""

    first_ms: float
    whole_ms: float


class Model:
    """The demo model in a process of its own: it writes without pauses."""

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(
            proc.tied(
                [sys.executable, "-m", "cowork.demo.model", "--port", "0", "--delay-ms", "0"]
            ),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdout is not None
        self.url = self._child.stdout.readline().split()[-1]
        return self

    def __exit__(self, *_how: object) -> None:
        with self._child:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(10.0)
            finally:
                self._child.kill()


@dataclass(frozen=True, slots=True)
class Cli:
    """The executable and what it needs; every run of it is in `folder`."""

    path: str
    model: Model
    folder: Path

    def environment(self) -> dict[str, str]:
        """What the CLI gets, the same as the server gives it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        given = {
            "HOME": str(self.folder),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "CLAUDE_CONFIG_DIR": str(self.folder / ".claude"),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            **account(self.model),
        }
        return command.environment(given, marker="bench", launch_config=_launch_config())

    def argv(self, *, resident: bool) -> list[str]:
        """As the server calls it; not resident, it reads one prompt and ends."""
        argv = command.argv(self.path, str(uuid4()), resume=False, launch_config=_launch_config())
        return [each for each in argv if resident or not each.startswith("--input-format")]

    def fresh(self, question: str) -> Timing:
        """A `claude -p` of its own for one question, from its start to its result."""
        begun = time.monotonic()
        child = self.start(resident=False)
        with child:
            try:
                assert child.stdin is not None
                child.stdin.write(question.encode())
                child.stdin.close()
                found = _read(child, begun, until=_RESULT)
                child.wait(TIMEOUT)
            finally:
                child.kill()
        return found

    def start(self, *, resident: bool) -> subprocess.Popen[bytes]:
        """A process with its two pipes; standard error is not listened to."""
        return subprocess.Popen(
            self.argv(resident=resident),
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )


class Resident:
    """A process that is driven by hand, as simply as can be: what the server is compared with."""

    def __init__(self, cli: Cli) -> None:
        self._child = cli.start(resident=True)
        self.pid = self._child.pid

    def __enter__(self) -> Self:
        self._send(encode(control_request("initialize", "initialize")))
        _read(self._child, time.monotonic(), until=_READY)
        return self

    def __exit__(self, *_how: object) -> None:
        with self._child:
            assert self._child.stdin is not None
            self._child.stdin.close()
            try:
                self._child.wait(10.0)
            finally:
                self._child.kill()

    def ask(self, question: str) -> Timing:
        """One turn; the CLI is idle again when this returns."""
        begun = time.monotonic()
        self._send(encode(user_message(question, str(uuid4()))))
        return _read(self._child, begun, until=_IDLE)

    def _send(self, line: bytes) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(line)


def account(model: Model) -> dict[str, str]:
    """The model's address, and a key that opens nothing."""
    return {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "sk-dummy"}


def _launch_config() -> command.LaunchConfig:
    return command.LaunchConfig(setpriv=find_setpriv())


def _read(child: subprocess.Popen[bytes], begun: float, *, until: bytes) -> Timing:
    """Read to the line that holds `until`; when the first text came, and the result."""
    assert child.stdout is not None
    seen = _Seen(begun)
    line = b""
    while True:
        if not select.select([child.stdout], [], [], TIMEOUT)[0]:
            raise RuntimeError("the CLI said nothing for a minute")
        block = os.read(child.stdout.fileno(), BLOCK)
        if not block:
            raise RuntimeError(f"the CLI ended; the last it said: {line[-300:]!r}")
        now = time.monotonic()
        *lines, line = (line + block).split(b"\n")
        for each in lines:
            seen.take(each, now)
            if until in each:
                return seen.timing()


@dataclass(slots=True)
class _Seen:
    begun: float
    first: float | None = None
    result: float | None = None

    def take(self, line: bytes, now: float) -> None:
        if self.first is None and _TEXT in line:
            self.first = now
        if self.result is None and _RESULT in line:
            self.result = now
            if b'"is_error":false' not in line:
                raise RuntimeError(f"the CLI failed: {line[:500]!r}")

    def timing(self) -> Timing:
        first, result = self.first or self.begun, self.result or self.begun
        return Timing((first - self.begun) * 1000, (result - self.begun) * 1000)
