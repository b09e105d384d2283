"""Reads a process's pipe as it fills.

gevent's file objects read first and wait when there was nothing, so that each token would cost a
read that fails.  Here it is the other way round, but in a flood.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO

from cowork.gevent_compat import waiting_to_read

BLOCK = 64 * 1024
# While a read waits it holds its buffer, and most processes are idle: only what filled a small
# one is followed by a large one.
QUIET_BLOCK = 1024


def read_blocks(pipe: IO[bytes]) -> Iterator[bytes]:
    """What there is to read, each time, until the pipe's end; nobody else may read it or close it.

    Raises OSError for a pipe that breaks.
    """
    fd, size, floods = pipe.fileno(), QUIET_BLOCK, False
    with waiting_to_read(fd) as wait:
        while True:
            if not floods:
                wait()
            try:
                block = os.read(fd, size)
            except BlockingIOError:  # there was no more, or we were woken for nothing
                floods = False
                continue
            if not block:
                return
            yield block
            floods = len(block) >= QUIET_BLOCK
            size = BLOCK if len(block) == size else QUIET_BLOCK
