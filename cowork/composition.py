"""The composition root: settings in, every part made, connected and, in the end, closed.

Nobody else reads settings or makes a part.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Self

from cowork import log as logging
from cowork import startup_log
from cowork.claude import command, orphans
from cowork.claude.disk_space import DiskSpace
from cowork.claude.installation import ClaudeCli
from cowork.claude.pool.pool import Pool
from cowork.claude.process.launcher import Launcher, find_setpriv
from cowork.claude.transcript import Transcripts
from cowork.claude.workspace import Workspace
from cowork.errors import QueueFull, ShuttingDown, StoreUnavailable
from cowork.history.chat_api import ChatApi, ChatHistory, NoChatApi
from cowork.history.outbox import Outbox
from cowork.history.relay import Relay
from cowork.readiness import Readiness, find_launch_problem
from cowork.runtime import unix_user
from cowork.runtime.fd_watcher import FdWatcher
from cowork.runtime.quota import Quota
from cowork.settings.api_keys import ApiKeys, Operators
from cowork.settings.settings import Settings
from cowork.stores import open_store
from cowork.stores.protocol import Store
from cowork.turns.maintenance import StoreMaintenance
from cowork.turns.policy import TurnPolicy
from cowork.turns.recorder import TurnRecorder
from cowork.turns.registry import TurnRegistry
from cowork.turns.removals import Removals
from cowork.turns.runner import Runner
from cowork.turns.service import TurnService
from cowork.upstream.http import UpstreamClient
from cowork.xo.auth_api import DisabledXoAuthApi, XoAuthApi, XoPaths, XoUpstream
from cowork.xo.login import AuthSession, XoLogin
from cowork.xo.startup_login import login_at_start
from cowork.xo.token_source import TokenSource

log = logging.logger(__name__)

OUTBOX_CLOSE_TIMEOUT_S = 1.0
DRAIN_POLL_INTERVAL_S = 0.05
# So many bodies of the largest size may be held at least: in memory a text takes up to four times
# its bytes on the wire, and each of two owners may send the largest.
LARGEST_BODIES = 8
DEFAULT_QUOTA_BYTES = 256 * 2**20


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
    removals: Removals
    body_quota: Quota
    reply_quota: Quota
    client_watcher: FdWatcher
    upstream: UpstreamClient | None
    readiness: Readiness
    stopping: threading.Event
    closed: bool = False

    def session_count(self) -> int:
        """How many sessions there are; while the store is unavailable, how many there were."""
        try:
            return self.store.session_count()
        except StoreUnavailable:
            return self.maintenance.sessions

    def start(self) -> Self:
        """Begin what runs in the background; nothing here makes the caller wait."""
        swept = orphans.sweep_dead_servers()
        if swept:
            log.warning("killed orphaned processes of a dead server", killed=len(swept))
        self.cli.state()
        self.maintenance.start()
        self.removals.start()
        self._make_workspace()
        self.pool.start()
        self._start_outbox()
        threading.Thread(
            target=self.login_at_start, args=(self.stopping,), name="login-at-start", daemon=True
        ).start()
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
        self.turn_service.stop_accepting()
        self.pool.spares.stop()
        deadline = time.monotonic() + timeout
        while self.turn_service.busy() and time.monotonic() < deadline and not cut_short():
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
            self.pool.close,
            self.removals.close,
            lambda: self.outbox.close(OUTBOX_CLOSE_TIMEOUT_S),
            self.maintenance.close,
            self.upstream.close if self.upstream is not None else lambda: None,
            self.cli.close,
            self.client_watcher.close,
            self.turn_service.registry.close,
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


def open_services(settings: Settings, environ: Mapping[str, str] | None = None) -> Services:
    """Make every part; `environ` is what the CLI's allow-list chooses from (default: ours)."""
    environ = dict(os.environ if environ is None else environ)
    logging.register_secret(*settings.secrets())
    holder = orphans.process_identity()
    stopping = threading.Event()
    keys = ApiKeys(settings.api_keys, settings.api_keys_file)
    store = open_store(
        settings.store,
        outbox_limit=settings.outbox_limit,
        outbox_bytes=settings.outbox_bytes,
        holder=holder,
        key_file=settings.store_key_file,
        owners=keys.__len__,
    )
    cli, launcher, launch_problem = _claude(settings, environ)
    config = launcher.config_folder()
    startup_log.log_lost_sessions(settings.claude_user, config)
    pool = _pool(settings, launcher)
    upstream, history, xo_auth = _upstream(settings)
    tokens = TokenSource(store, xo_auth, static_token=settings.chat_api_token)
    configured = AuthSession.of(settings.xo_auth_session_id, settings.xo_poll_token)
    relay = Relay(store, history, tokens.bearer, refresh=tokens.refresh)
    outbox = Outbox(store, relay, max_age=settings.outbox_max_age)
    tokens.on_change(outbox.token_changed)
    removals = Removals(store, launcher.session_files())
    recorder = TurnRecorder(store, outbox, holder=holder, retention=settings.turn_retention)
    registry = TurnRegistry(settings.turn_retention, store, holder)
    maintenance = StoreMaintenance(
        store, recorder, registry, holder=holder, is_dead=orphans.is_dead
    )
    recorder.on_store_error = maintenance.run_soon
    policy = _policy(settings)
    runner = Runner(store, pool, cli, recorder, policy, transcripts=Transcripts(config))
    waiting, bodies, replies = _quotas(settings, owners=keys.__len__)
    return Services(
        settings=settings,
        keys=keys,
        operators=Operators(keys, settings.admin_keys, settings.login_keys),
        store=store,
        maintenance=maintenance,
        cli=cli,
        pool=pool,
        outbox=outbox,
        login=XoLogin(tokens, xo_auth, configured),
        login_at_start=partial(login_at_start, tokens, xo_auth, configured),
        turn_service=TurnService(
            store,
            pool,
            recorder=recorder,
            registry=registry,
            runner=runner,
            policy=policy,
            quota=waiting,
            removals=removals,
        ),
        removals=removals,
        body_quota=bodies,
        reply_quota=replies,
        client_watcher=FdWatcher("disconnects"),
        upstream=upstream,
        readiness=Readiness(
            cli=cli,
            pool=pool,
            maintenance=maintenance,
            outbox=outbox,
            disk_space=DiskSpace(
                {"Claude's folder": config, "the workspace": settings.workspace},
                settings.claude_user,
            ),
            workspace=settings.workspace,
            stopping=stopping,
            launch_problem=launch_problem,
        ),
        stopping=stopping,
    )


def _claude(
    settings: Settings, environ: Mapping[str, str]
) -> tuple[ClaudeCli, Launcher, str | None]:
    """The CLI, what starts it, and why it would not start with these settings."""
    launch_config = command.LaunchConfig(
        permission_mode=settings.permission_mode,
        trust_projects=settings.trust_projects,
        shared_workspace=not settings.project_dirs,
        retries=settings.cli_retries,
        setpriv=find_setpriv(),
        account=settings.claude_user,
        passed=settings.cli_env,
    )
    cli = ClaudeCli(settings.claude_cli_path, environ=environ, launch_config=launch_config)
    launcher = Launcher(
        cli,
        environ=environ,
        launch_config=launch_config,
        timeout=min(settings.start_timeout, settings.claude_timeout),
    )
    return cli, launcher, find_launch_problem(launch_config, environ)


def _pool(settings: Settings, launcher: Launcher) -> Pool:
    return Pool(
        launcher,
        limit=settings.max_processes,
        owner_share=settings.owner_processes,
        bundled_skills=settings.bundled_skills,
        idle_timeout=settings.idle_timeout,
        slot_timeout=settings.queue_timeout,
        memory_limit=settings.process_memory_mb * 2**20,
        max_turns=settings.process_max_turns,
        # A process stays in the directory that it was started in.
        spares=0 if settings.project_dirs else settings.spare_processes,
        spare_cwd=str(settings.workspace),
    )


def _policy(settings: Settings) -> TurnPolicy:
    return TurnPolicy(
        workspace=Workspace(settings.workspace, per_project=settings.project_dirs),
        permission_mode=settings.permission_mode,
        slash_commands=settings.slash_commands,
        timeout=settings.claude_timeout,
        queue_limit=settings.queue_limit,
        disconnect_grace=settings.disconnect_grace,
    )


def _quotas(settings: Settings, owners: Callable[[], int]) -> tuple[Quota, Quota, Quota]:
    """The bounds on waiting questions, on bodies and on replies."""
    default = max(DEFAULT_QUOTA_BYTES, LARGEST_BODIES * settings.max_body)
    transfer = settings.transfer_bytes or default
    waiting = Quota(
        "waiting questions",
        most=settings.waiting_turns,
        most_bytes=settings.waiting_bytes or default,
        owners=owners,
        share=QueueFull,
    )
    bodies = Quota("bytes of bodies", most_bytes=transfer, owners=owners)
    return waiting, bodies, Quota("bytes of replies", most_bytes=transfer, owners=owners)


def _upstream(settings: Settings) -> tuple[UpstreamClient | None, ChatHistory, XoUpstream]:
    """The upstream's clients, or the null ones where it is switched off."""
    if not settings.chat_api_base_url:
        return None, NoChatApi(), DisabledXoAuthApi()
    client = UpstreamClient(settings.chat_api_base_url)
    paths = XoPaths(
        start=settings.xo_auth_start_path,
        status=settings.xo_auth_status_path,
        consume=settings.xo_auth_consume_path,
        user_id=settings.xo_get_user_id_path,
        refresh=settings.xo_refresh_path,
    )
    return client, ChatApi(client), XoAuthApi(client, paths)
