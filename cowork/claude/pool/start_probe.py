"""Whether the CLI starts: as the last start has shown, or a try beside, where none has lately."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cowork.errors import CoworkError
from cowork.log import logger
from cowork.runtime.circuit_breaker import CircuitBreaker

log = logger(__name__)

# After a start that failed, so long until it is tried beside, then twice as long; seconds.
FIRST_PAUSE_S = 2.0
JOIN_TIMEOUT_S = 5.0


class StartProbe:
    """Hears of starts that failed or went well; `problem` is what the last of them showed.

    A balancer sends no turns to a server that is not ready, so that no turn would show that the
    CLI starts again: whoever asks for the `problem` sets off `probe`, now and then.  That starts a
    process for nobody and tells of it here as every start does.
    """

    def __init__(self, probe: Callable[[], None], *, first_pause_s: float = FIRST_PAUSE_S) -> None:
        self._probe = probe
        self._breaker = CircuitBreaker(threshold=1, first_pause_s=first_pause_s)
        self._lock = threading.Lock()
        self._why: str | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def failed(self, why: str) -> None:
        """The CLI did not start, through no fault of whoever wanted it."""
        self._why = why
        self._breaker.failed()

    def succeeded(self) -> None:
        """A process is ready."""
        if self._why is not None:
            self._why = None
            self._breaker.succeeded()

    @property
    def problem(self) -> str | None:
        """Why the last start failed, if it did.  Never waits."""
        why = self._why
        if why is None:
            return None
        with self._lock:
            if self._breaker.retry_in() <= 0:
                self._begin_try()
        return f"the last start of the Claude CLI failed: {why}"

    def doubt(self) -> None:
        """A process did not start, perhaps through what its project has brought along: try beside.

        A project's folder, or the hooks in it, are no reason to send others' turns elsewhere.
        """
        with self._lock:
            self._begin_try()

    def _begin_try(self) -> None:
        if self._closed or (self._thread is not None and self._thread.is_alive()):
            return
        thread = threading.Thread(target=self._try, name="claude-start-probe", daemon=True)
        try:
            thread.start()
        except RuntimeError as fault:  # there are no more threads
            log.warning("could not start a thread to probe the CLI", why=str(fault))
        else:
            self._thread = thread

    def _try(self) -> None:
        try:
            self._probe()
        except CoworkError as fault:
            log.info("CLI start probe failed", why=fault.message)

    def close(self) -> None:
        """Try no more."""
        with self._lock:
            self._closed = True

    def join(self) -> None:
        """Wait for the end of a try that was under way."""
        if self._thread is not None:
            self._thread.join(JOIN_TIMEOUT_S)
