"""A real Redis of a test's own, which can be stopped, started empty, paused."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from tests.patience import PATIENCE_S
from tests.serving import free_port


def redis_binary() -> str | None:
    return shutil.which("redis-server")


class RedisServer:
    """Keeps nothing on disk: whoever starts it again finds it empty."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary = redis_binary()
        assert binary is not None
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._child = subprocess.Popen(
            [binary, *options, "--appendonly", "no", "--dir", str(self._folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as line:
                line.sendall(b"PING\r\n")
                return line.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self) -> None:
        """End it, and all it holds."""
        if self._child is not None:
            self._child.kill()
            self._child.wait(PATIENCE_S)
            self._child = None

    def pause(self) -> None:
        """It takes connections and says nothing."""
        assert self._child is not None
        os.kill(self._child.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._child is not None
        os.kill(self._child.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
