"""What the CLIs say on standard error: read by one thread for all of them, the tail kept."""

from __future__ import annotations

import os
import threading
from typing import IO

BLOCK = 64 * 1024
TAIL = 64 * 1024


class StderrTail:
    """One CLI's pipe, to be given to `FdWatcher`; `ended` is set when it says no more."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.ended = threading.Event()
        self._pipe = pipe
        self._tail = bytearray()
        os.set_blocking(pipe.fileno(), False)

    @property
    def text(self) -> str:
        """The last 64 KiB."""
        return self._tail.decode(errors="replace")

    def fileno(self) -> int:
        """The pipe's descriptor."""
        return self._pipe.fileno()

    def on_readable(self) -> bool:
        """Take what there is."""
        try:
            block = os.read(self.fileno(), BLOCK)
        except BlockingIOError:
            return True
        except OSError:
            block = b""
        if not block:
            self.ended.set()
            return False
        self._tail += block
        del self._tail[:-TAIL]
        return True

    def close(self) -> None:
        """Give the pipe back."""
        self.ended.set()
        self._pipe.close()
