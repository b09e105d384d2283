"""Tells systemd (`Type=notify`) when the server serves, reloads and stops.

gunicorn says READY before any worker accepts, and nothing of a reload.  Here the master says it
when a worker does: it alone is heard (`NotifyAccess=main`), and it looks at the page that it shares
with its workers by a timer's signal, since it may have no threads when it forks.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from typing import Any

from cowork.server.handover import handover

LOOK_INTERVAL_S = 0.05
VARIABLE = "NOTIFY_SOCKET"


class ServiceManager:
    """Whoever started this server, if it wants to be told.  In the master."""

    def __init__(self) -> None:
        self._address = ""

    def attach(self, server: Any) -> None:
        """At gunicorn's start: say READY when a worker accepts, and STOPPING when it is to end."""
        # From here on nobody else speaks to it: gunicorn, a worker, a tool of the CLI.
        self._address = os.environ.pop(VARIABLE, "").replace("@", "\0", 1)
        if not self._address:
            return
        stop = server.stop

        def tell_and_stop(*arguments: Any, **options: Any) -> None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._tell("STOPPING=1")
            stop(*arguments, **options)

        server.stop = tell_and_stop
        signal.signal(signal.SIGALRM, self._look)
        self._look_until_ready()

    def reloading(self) -> None:
        """A reload begins; READY follows when a new worker accepts."""
        if self._address:
            self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            self._look_until_ready()

    def _look_until_ready(self) -> None:
        # A child has no timer of its parent's.
        signal.setitimer(signal.ITIMER_REAL, LOOK_INTERVAL_S, LOOK_INTERVAL_S)

    def _look(self, *_signal: object) -> None:
        if handover.has_served and not handover.is_underway:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._tell("READY=1")

    def _tell(self, state: str) -> None:
        # One that has gone is no reason not to serve.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            line.sendto(state.encode(), self._address)


# Of this process, which gunicorn's master is.
service_manager = ServiceManager()
