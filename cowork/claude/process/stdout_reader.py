"""The thread that reads one CLI's standard output, to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import IO

from cowork.claude.process.stdout import read_blocks
from cowork.claude.stream_json.protocol import Lines, LineTooLong
from cowork.errors import ClaudeFailed
from cowork.log import logger

log = logger(__name__)

# A loop that is never left for longer than this starves other streams.
WORK_SLICE_S = 0.002


class StdoutReader:
    """Calls `on_lines` with whole lines as they come, and `on_end` once, last of all.

    `before` is called first, and `on_failure` with the reason where the output cannot be read:
    `on_end` follows that too.  `last_output` is when something came last (monotonic).
    """

    def __init__(
        self,
        pid: int,
        stdout: IO[bytes],
        *,
        before: Callable[[], None],
        on_lines: Callable[[bytes], None],
        on_failure: Callable[[ClaudeFailed], None],
        on_end: Callable[[], None],
    ) -> None:
        self._pid = pid
        self._stdout = stdout
        self._before = before
        self._on_lines = on_lines
        self._on_failure = on_failure
        self._on_end = on_end
        self.last_output = time.monotonic()
        self.thread = threading.Thread(target=self._run, name=f"claude-{pid}", daemon=True)

    def _run(self) -> None:
        try:
            self._before()
            self._read()
        except LineTooLong:
            self._on_failure(ClaudeFailed("the Claude CLI wrote a line of more than 16 MiB"))
        except Exception:
            # A message of a shape that nobody foresaw, or a pipe that broke: the turn must end.
            log.exception("reading the CLI's output failed", pid=self._pid)
            self._on_failure(ClaudeFailed("the Claude CLI's output could not be read"))
        finally:
            on_end = self._on_end
            # They are methods of the process that has us: else only the garbage collector, which
            # comes rarely, would free what it held.
            del self._before, self._on_lines, self._on_failure, self._on_end
            on_end()

    def _read(self) -> None:
        lines, on_lines = Lines(), self._on_lines
        worked = 0.0
        for block in read_blocks(self._stdout):
            begun = self.last_output = time.monotonic()
            on_lines(lines.feed(block))
            worked += time.monotonic() - begun
            if worked > WORK_SLICE_S:
                time.sleep(0.0001)
                worked = 0.0
