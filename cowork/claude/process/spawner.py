"""Starts child processes from one long-lived thread.

`setpriv --pdeathsig` makes the kernel signal a child when the *thread* that started it ends, so a
child must never be started by a short-lived one.  Under gevent every thread is the main one, and
this is merely a queue.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError

from cowork.claude.command import UMASK

SPAWN_TIMEOUT_S = 10.0


class Spawner:
    """Owns the thread that owns every child; `close` it only when the children are gone."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="claude-spawner")

    def spawn(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: str
    ) -> subprocess.Popen[bytes]:
        """Start a child with three pipes, in a session of its own.

        Raises OSError as `Popen` does: no such file, not executable, no memory.
        """
        future = self._executor.submit(self._popen, list(argv), dict(env), cwd)
        try:
            return future.result(SPAWN_TIMEOUT_S)
        except FutureTimeoutError as fault:
            if not future.cancel():
                future.add_done_callback(_discard)
            raise OSError("starting a process took too long") from fault

    @staticmethod
    def _popen(argv: list[str], env: dict[str, str], cwd: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Whoever reads takes what is there; a buffer for each pipe would be memory for nothing.
            bufsize=0,
            env=env,
            cwd=cwd,
            # Its own session: Ctrl-C in our terminal is ours to pass on, in our order.
            start_new_session=True,
            umask=UMASK,
        )

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)


def _discard(late: Future[subprocess.Popen[bytes]]) -> None:
    """End a child that came after nobody waited for it any more."""
    if late.exception() is None:
        child = late.result()
        child.kill()
        child.communicate()
