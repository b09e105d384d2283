"""Store maintenance: sends our heartbeat, releases claims of dead workers, expires old turns."""

from __future__ import annotations

import time
from collections.abc import Callable

from cowork.errors import StoreUnavailable
from cowork.log import logger
from cowork.model import WorkerInfo
from cowork.runtime.periodic import PeriodicThread
from cowork.stores.protocol import CLAIM_TTL_S, Store
from cowork.turns.recorder import TurnRecorder
from cowork.turns.registry import TurnRegistry

log = logger(__name__)

HEARTBEAT_INTERVAL_S = 4.0
# While the store is unavailable.
RETRY_INTERVAL_S = 0.5
# While a turn of another process is read here; and where that process tells of its end.
REMOTE_POLL_INTERVAL_S = 0.25
TOLD_POLL_INTERVAL_S = 5.0
# For how long the thread sleeps to see how late it wakes.
_LAG_SAMPLE_S = 0.005
_EXPIRE_BATCH = 50


class StoreMaintenance:
    """One thread, and none for a store of this process alone.

    `is_dead` says of a holder's name whether its process is certainly gone; `describe` what other
    workers are told of this one, whose wake-ups are so many milliseconds late.
    """

    def __init__(
        self,
        store: Store,
        recorder: TurnRecorder,
        registry: TurnRegistry,
        *,
        holder: str,
        is_dead: Callable[[str], bool],
        describe: Callable[[float], WorkerInfo] | None = None,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._registry = registry
        self._holder = holder
        self._is_dead = is_dead
        self._describe = describe
        told = store.others is not None
        self._remote_interval = TOLD_POLL_INTERVAL_S if told else REMOTE_POLL_INTERVAL_S
        self.takes_questions = True
        # Called with each heartbeat where several workers share the store.
        self.on_registered: Callable[[], None] = lambda: None
        # Called when what dead workers held is released.
        self.on_released: Callable[[], None] = lambda: None
        self._thread = PeriodicThread("maintenance", self._step, first_s=HEARTBEAT_INTERVAL_S)
        self._is_due = False
        self._next_run = 0.0
        self.ok = True
        self.sessions = 0

    def start(self) -> None:
        """Release what dead workers held, now and from then on in the background."""
        if not self._store.shared:
            return
        self._run_once()
        self._thread.start()

    def run_soon(self) -> None:
        """Check the store now: a call of it has failed."""
        self._is_due = True
        self._thread.wake()

    @property
    def waiting_ends(self) -> int:
        """How many ends of turns wait for the store."""
        return self._recorder.buffered

    def close(self) -> None:
        """Stop the thread, and try a last time to write the buffered ends."""
        self._thread.stop()
        self._thread.join(2 * RETRY_INTERVAL_S + 1.0)
        if not self._recorder.flush():
            log.error("shutting down: unsaved turn results lost", turns=self._recorder.buffered)

    def _step(self) -> float:
        """Do what is due; the seconds until something is due again."""
        self._refresh_remote()
        if self._is_due or time.monotonic() >= self._next_run:
            self._is_due = False
            self._run_once()
            self._thread.pause(REMOTE_POLL_INTERVAL_S)  # however many calls fail at once
        left = max(self._next_run - time.monotonic(), 0.0)
        return min(self._remote_interval, left) if self._registry.remote.count else left

    def _refresh_remote(self) -> None:
        try:
            if self._registry.remote.count:
                self._registry.remote.refresh_all()
        except StoreUnavailable:
            self._is_due = True

    def _run_once(self) -> None:
        try:
            self._store.heartbeat()
            self._register()
            self._reap_dead_holders()
            if self.takes_questions:
                self.on_released()
            self.sessions = self._store.session_count()
            while self._store.expire(_EXPIRE_BATCH) == _EXPIRE_BATCH:
                self._thread.pause(0.01)
            self._set_available(ok=self._recorder.flush())
        except StoreUnavailable as fault:
            self._set_available(ok=False, why=fault.message)
        except Exception:
            log.exception("store maintenance failed")
        self._next_run = time.monotonic() + (HEARTBEAT_INTERVAL_S if self.ok else RETRY_INTERVAL_S)

    def _register(self) -> None:
        others = self._store.others
        if others is not None and self._describe is not None and self.takes_questions:
            begun = time.monotonic()
            self._thread.pause(_LAG_SAMPLE_S)
            others.register(self._describe(1000 * (time.monotonic() - begun - _LAG_SAMPLE_S)))
            self.on_registered()

    def _reap_dead_holders(self) -> None:
        for holder, silent in self._store.holders().items():
            is_gone = silent > CLAIM_TTL_S and not _same_kernel(holder, self._holder)
            if holder != self._holder and (is_gone or self._is_dead(holder)):
                self._release(holder)

    def release_if_dead(self, holder: str) -> bool:
        """Release what a worker holds whose process is certainly gone; False where it may live.

        Raises `StoreUnavailable`.
        """
        if holder == self._holder or not self._is_dead(holder):
            return False
        self._release(holder)
        return True

    def _release(self, holder: str) -> None:
        lost = self._store.release_dead_holder(holder)
        log.warning("worker died, its turns marked failed", holder=holder, turns=len(lost))

    def _set_available(self, *, ok: bool, why: str | None = None) -> None:
        if ok != self.ok:
            self.ok = ok
            if ok:
                log.info("store available")
            else:
                log.warning("store unavailable", why=why)


def _same_kernel(holder: str, own: str) -> bool:
    """Whether we would see the holder's process die: same host, same PID namespace."""
    return _kernel_of(holder) == _kernel_of(own) != ""


def _kernel_of(holder: str) -> str:
    host, _, marker = holder.partition("/")
    namespace = marker.rpartition(":")[2]
    return f"{host}:{namespace}" if namespace.strip("0") else ""
