"""Writes lines to a CLI's standard input: whole, one at a time, in bounded time."""

from __future__ import annotations

import os
import select
import threading
import time
from contextlib import suppress
from typing import IO

WRITE_TIMEOUT_S = 30.0


class StdinWriter:
    """The writing end of the pipe.

    Not through `Popen.stdin`'s buffer: a CLI that does not read would block its writer for ever.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._given_up = False
        os.set_blocking(pipe.fileno(), False)

    def send(self, line: bytes, timeout: float = WRITE_TIMEOUT_S) -> bool:
        """Write one line; False where the CLI did not take all of it in `timeout` seconds."""
        deadline = time.monotonic() + timeout
        if not self._lock.acquire(timeout=timeout):
            return False
        try:
            return not self._pipe.closed and self._write(memoryview(line), deadline)
        finally:
            if self._given_up:
                self._give_back()
            self._lock.release()

    def _write(self, data: memoryview, deadline: float) -> bool:
        poller = None
        while data:
            try:
                data = data[os.write(self._pipe.fileno(), data) :]
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0 or self._given_up:
                    return False
                if poller is None:  # a CLI that takes its time, which hardly any does
                    poller = select.poll()
                    poller.register(self._pipe.fileno(), select.POLLOUT)
                poller.poll(min(left, 0.5) * 1000)
            except (OSError, ValueError):
                return False  # a broken pipe, or closed meanwhile: the reader tells of the death
        return True

    def close(self) -> None:
        """Say that no more will come; a writer that is stuck gives up soon, and closes it then."""
        self._given_up = True
        if self._lock.acquire(timeout=1.0):
            try:
                self._give_back()
            finally:
                self._lock.release()

    def _give_back(self) -> None:
        with suppress(OSError):  # it is gone already
            self._pipe.close()
