"""The steps that end a child process: its standard input's end, SIGTERM, SIGKILL; each bounded."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

STDIN_STEP_S = 5.0
HUNG_STDIN_STEP_S = 1.0
TERM_STEP_S = 2.0
KILL_STEP_S = 2.0
SHORTENED_STEP_S = 0.5
# How often a child is looked at that is to end; seconds.
FIRST_POLL_S, LAST_POLL_S = 0.002, 0.05


class Escalation:
    """Ends one child; called from any thread."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._shortened = False

    def shorten(self) -> None:
        """Shorten every step, also of one that is under way."""
        self._shortened = True

    def run(self, *, hung: bool) -> None:
        """Until the child has ended, whose standard input is closed; less patient if it `hung`."""
        if self.exits_within(HUNG_STDIN_STEP_S if hung else STDIN_STEP_S):
            return
        self._child.terminate()
        if not self.exits_within(TERM_STEP_S):
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._child.kill()
        self.exits_within(KILL_STEP_S)

    def exits_within(self, timeout: float) -> bool:
        """Whether the child exits within a step."""
        return self.await_exit(
            lambda: min(timeout, SHORTENED_STEP_S) if self._shortened else timeout
        )

    def await_exit(self, seconds: Callable[[], float]) -> bool:
        """Whether the child ends within `seconds()`, which may become fewer meanwhile.

        It is looked at, not waited on: of two that wait on one child, gevent forgets one for ever
        when the other's time is up in the moment of the exit.
        """
        begun, pause = time.monotonic(), FIRST_POLL_S
        while self._child.poll() is None:
            left = begun + seconds() - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(2 * pause, LAST_POLL_S)
        return True
