"""Keeps a shared store in order: says that we live, and sets free what those hold who do not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from cowork.errors import StoreUnavailable
from cowork.log import logger
from cowork.stores.protocol import LEASE, Store
from cowork.turns.recorder import TurnRecorder
from cowork.turns.registry import TurnRegistry

log = logger(__name__)

BEAT = 4.0
# While the store is away, and while a turn of another process is followed.
SOON = 0.5
FOLLOW = 0.25
_EXPIRED_AT_ONCE = 50


class Keeper:
    """One thread, and none for a store of this process alone.

    `is_dead` says of a holder's name whether its process is certainly gone.
    """

    def __init__(
        self,
        store: Store,
        ledger: TurnRecorder,
        turns: TurnRegistry,
        *,
        holder: str,
        is_dead: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._turns = turns
        self._holder = holder
        self._is_dead = is_dead
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self.ok = True
        self.sessions = 0

    def start(self) -> None:
        """Set free what dead processes held, and go on doing so in the background."""
        if not self._store.shared:
            return
        self._look()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def look_now(self) -> None:
        """Somebody had trouble with the store: see whether it is away."""
        self._wake.set()

    def close(self) -> None:
        """End the thread; what still waits for the store gets its last chance."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(2 * SOON + 1.0)
        if not self._ledger.flush():
            log.error("the ends of turns are lost with us", turns=self._ledger.waiting)

    def _run(self) -> None:
        next_look = time.monotonic() + BEAT
        while not self._stop.is_set():
            now = time.monotonic()
            woken = self._wake.wait(max(min(self._pause(), next_look - now), 0.0))
            if self._stop.is_set():
                return
            self._follow()
            if woken or time.monotonic() >= next_look:
                self._wake.clear()
                self._look()
                next_look = time.monotonic() + (BEAT if self.ok else SOON)
                self._stop.wait(FOLLOW)  # however many have trouble at once

    def _follow(self) -> None:
        try:
            if self._turns.remote_count:
                self._turns.refresh_remote()
        except StoreUnavailable:
            self._wake.set()

    def _pause(self) -> float:
        return FOLLOW if self._turns.remote_count else BEAT

    def _look(self) -> None:
        try:
            self._store.beat()
            self._bury_the_dead()
            self.sessions = self._store.session_count()
            while self._store.expire(_EXPIRED_AT_ONCE) == _EXPIRED_AT_ONCE:
                self._stop.wait(0.01)
            self._say(ok=self._ledger.flush())
        except StoreUnavailable as fault:
            self._say(ok=False, why=fault.message)
        except Exception:
            log.exception("the store could not be kept in order")

    def _bury_the_dead(self) -> None:
        for holder, silent in self._store.holders().items():
            if holder == self._holder:
                continue
            if self._is_dead(holder) or (silent > LEASE and not _is_near(holder, self._holder)):
                lost = self._store.bury_holder(holder)
                log.warning("a process is gone, its turns are lost", holder=holder, turns=len(lost))

    def _say(self, *, ok: bool, why: str | None = None) -> None:
        if ok != self.ok:
            self.ok = ok
            if ok:
                log.info("the store is back")
            else:
                log.warning("the store is away", why=why)


def _is_near(holder: str, own: str) -> bool:
    """Whether we would know of the holder's death: it runs where we do, under the same kernel."""
    return _place(holder) == _place(own) != ""


def _place(holder: str) -> str:
    host, _, marker = holder.partition("/")
    namespace = marker.rpartition(":")[2]
    return f"{host}:{namespace}" if namespace.strip("0") else ""
