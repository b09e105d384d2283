"""Every part of the server, connected: started, drained and, in the end, closed in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from cowork import startup_log
from cowork.claude import orphans
from cowork.claude.installation import ClaudeCli
from cowork.claude.pool.pool import Pool
from cowork.errors import ShuttingDown, StoreUnavailable
from cowork.history.outbox import Outbox
from cowork.log import logger
from cowork.model import WorkerInfo
from cowork.readiness import Readiness
from cowork.runtime import unix_user
from cowork.runtime.fd_watcher import FdWatcher
from cowork.runtime.quota import Quota
from cowork.settings.api_keys import ApiKeys, Operators
from cowork.settings.settings import Settings
from cowork.stores.protocol import Store
from cowork.telemetry.catalogue import CLI_ORPHANS_ENDED
from cowork.telemetry.loop_lag import LoopLag
from cowork.telemetry.metrics import Metrics
from cowork.telemetry.shared import SharedMetrics
from cowork.turns.conversation_expiry import ConversationExpiry
from cowork.turns.conversations import Conversations
from cowork.turns.maintenance import StoreMaintenance
from cowork.turns.removals import Removals
from cowork.turns.service import TurnService
from cowork.turns.workers.process_directory import ProcessDirectory
from cowork.turns.workers.workers import SelfDescription, Workers
from cowork.upstream.http import UpstreamClient
from cowork.xo.login import XoLogin

log = logger(__name__)

OUTBOX_CLOSE_TIMEOUT_S = 1.0
DRAIN_POLL_INTERVAL_S = 0.05


@dataclass(slots=True)
class Services:
    """Every part of the server, connected; `close` ends all of them, in order."""

    settings: Settings
    keys: ApiKeys
    operators: Operators
    store: Store
    maintenance: StoreMaintenance
    cli: ClaudeCli
    pool: Pool
    outbox: Outbox
    login: XoLogin
    login_at_start: Callable[[threading.Event], None]
    turn_service: TurnService
    processes: ProcessDirectory
    conversations: Conversations
    conversation_expiry: ConversationExpiry
    workers: Workers | None
    describe: SelfDescription
    removals: Removals
    body_quota: Quota
    reply_quota: Quota
    client_watcher: FdWatcher
    upstream: UpstreamClient | None
    readiness: Readiness
    stopping: threading.Event
    metrics: Metrics
    shared_metrics: SharedMetrics
    loop_lag: LoopLag
    closed: bool = False

    def session_count(self) -> int:
        """How many sessions there are; while the store is unavailable, how many there were."""
        try:
            return self.store.session_count()
        except StoreUnavailable:
            return self.maintenance.sessions

    def list_workers(self) -> list[WorkerInfo]:
        """All workers that take questions; this one alone where none can share its store."""
        return [self.describe()] if self.workers is None else self.workers.others.workers()

    def start(self) -> Self:
        """Begin what runs in the background; nothing here makes the caller wait."""
        swept = orphans.sweep_dead_servers()
        if swept:
            self.metrics.count(CLI_ORPHANS_ENDED, by=len(swept))
            log.warning("killed orphaned processes of a dead server", killed=len(swept))
        self.cli.state()
        self.maintenance.start()
        if self.workers is not None:
            self.workers.start(self.turn_service, self.processes)
        self.removals.start()
        self.conversation_expiry.start()
        self._make_workspace()
        self.pool.start()
        self._start_outbox()
        self.shared_metrics.start()
        self.loop_lag.start()
        threading.Thread(
            target=self.login_at_start, args=(self.stopping,), name="login-at-start", daemon=True
        ).start()
        startup_log.log_settings(self.settings)
        startup_log.log_access(self.settings, self.keys, self.operators)
        startup_log.log_risks(self.settings, self.readiness.launch_problem)
        return self

    def _make_workspace(self) -> None:
        try:
            unix_user.make_folder(self.settings.workspace, self.settings.claude_user)
        except OSError as fault:
            folder = str(self.settings.workspace)
            log.error("workspace unavailable: cannot create it", folder=folder, why=str(fault))

    def _start_outbox(self) -> None:
        try:
            self.outbox.start()
        except StoreUnavailable as fault:
            log.warning("store unavailable at start", why=fault.message)

    def drain(self, timeout: float, cut_short: Callable[[], bool] = lambda: False) -> None:
        """Take no new turns; those that run have `timeout` seconds, or until `cut_short()`.

        What is not over by then is interrupted, and every stream told so.
        """
        self.stopping.set()
        self.maintenance.takes_questions = False
        self.turn_service.stop_accepting()
        self.pool.spares.stop()
        deadline = time.monotonic() + timeout
        while self.turn_service.is_needed() and time.monotonic() < deadline and not cut_short():
            time.sleep(DRAIN_POLL_INTERVAL_S)
        self.turn_service.stop_all(ShuttingDown("the server is shutting down", retry_after=5))

    def close(self) -> None:
        """End every turn, process, thread and connection; calling it twice is no error."""
        if self.closed:
            return
        self.closed = True
        steps: tuple[Callable[[], None], ...] = (
            lambda: self.drain(0.0),
            self._log_lost_memory,
            self.workers.close if self.workers is not None else lambda: None,
            self.conversation_expiry.close,
            self.processes.close,
            self.pool.close,
            self.removals.close,
            lambda: self.outbox.close(OUTBOX_CLOSE_TIMEOUT_S),
            self.maintenance.close,
            self.upstream.close if self.upstream is not None else lambda: None,
            self.cli.close,
            self.client_watcher.close,
            self.loop_lag.close,
            self.turn_service.registry.close,
            self.shared_metrics.close,  # reads the store
            self.store.close,
        )
        for step in steps:
            try:
                step()
            except Exception:
                # `close` is not called again: a part that fails must not leave the later ones open.
                log.exception("shutdown step failed")

    def _log_lost_memory(self) -> None:
        if self.store.shared:
            return
        sessions, token = self.store.session_count(), self.store.token() is not None
        if sessions or token:
            log.warning("sessions of memory:// lost", sessions=sessions, and_the_token=token)
