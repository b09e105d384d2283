"""The composition root: settings in, every part made and connected.

Nobody else reads settings or makes a part; `Services` starts and closes them.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from cowork import log as logging
from cowork import startup_log
from cowork.claude import orphans
from cowork.claude.disk_space import DiskSpace
from cowork.claude.file_history import FileHistories
from cowork.claude.installation import ClaudeCli
from cowork.claude.launch_options import LaunchOptions
from cowork.claude.pool.machine_limit import MachineLimit
from cowork.claude.pool.memory import limit_by_memory
from cowork.claude.pool.pool import Pool
from cowork.claude.pool.slot import PoolLoad
from cowork.claude.process.launcher import Launcher
from cowork.claude.transcript import Transcripts
from cowork.gauges import watch_all
from cowork.history.chat_api import ChatApi, ChatHistory, NoChatApi
from cowork.history.outbox import Outbox
from cowork.history.relay import Relay
from cowork.lifecycle import Services
from cowork.policies import approval_policy_of, launch_config_of, quotas_of, turn_policy_of
from cowork.readiness import Readiness, find_launch_problem
from cowork.runtime.fd_watcher import FdWatcher
from cowork.settings.api_keys import ApiKeys, Operators
from cowork.settings.settings import Settings
from cowork.stores import open_store
from cowork.stores.timed import timed
from cowork.telemetry.loop_lag import LoopLag
from cowork.telemetry.metrics import Metrics
from cowork.telemetry.prometheus import PrometheusMetrics
from cowork.telemetry.shared import SharedMetrics
from cowork.telemetry.traceparent import Traces
from cowork.turns.approvals.approvals import Approvals
from cowork.turns.conversation_expiry import ConversationExpiry
from cowork.turns.conversations import Conversations
from cowork.turns.finisher import TurnFinisher
from cowork.turns.maintenance import StoreMaintenance
from cowork.turns.recorder import TurnRecorder
from cowork.turns.registry import TurnRegistry
from cowork.turns.removals import Removals
from cowork.turns.reporter import TurnReporter
from cowork.turns.running.attempt import Attempts
from cowork.turns.running.checkpoints import Checkpoints
from cowork.turns.running.forks import Forks
from cowork.turns.running.runner import Runner
from cowork.turns.service import TurnService
from cowork.turns.transcript_sync import TranscriptSync
from cowork.turns.workers.process_directory import ProcessDirectory
from cowork.turns.workers.workers import SelfDescription, connect_workers, free_of
from cowork.upstream.http import UpstreamClient
from cowork.xo.auth_api import DisabledXoAuthApi, XoAuthApi, XoPaths, XoUpstream
from cowork.xo.login import AuthSession, XoLogin
from cowork.xo.startup_login import login_at_start
from cowork.xo.token_source import TokenSource


def open_services(
    settings: Settings,
    environ: Mapping[str, str] | None = None,
    *,
    metrics_folder: Path | None = None,
) -> Services:
    """Make every part; `environ` is what the CLI's allow-list chooses from (default: ours).

    `metrics_folder` is where the workers behind one port tell each other what they have counted.
    """
    environ = dict(os.environ if environ is None else environ)
    metrics = PrometheusMetrics()
    logging.register_secret(*settings.secrets())
    holder = orphans.process_identity()
    stopping = threading.Event()
    keys = ApiKeys(settings.api_keys, settings.api_keys_file)
    opened = open_store(
        settings.store,
        outbox_limit=settings.outbox_limit,
        outbox_bytes=settings.outbox_bytes,
        holder=holder,
        key_file=settings.store_key_file,
        owners=keys.__len__,
    )
    store = timed(opened, metrics)
    cli, launcher, launch_problem = _claude(settings, environ)
    config = launcher.config_folder()
    startup_log.log_lost_sessions(settings.claude_user, config)
    upstream, history, xo_auth = _upstream(settings, metrics)
    tokens = TokenSource(store, xo_auth, static_token=settings.chat_api_token)
    configured = AuthSession.of(settings.xo_auth_session_id, settings.xo_poll_token)
    traces = Traces()
    relay = Relay(
        store,
        history,
        tokens.bearer,
        holder=holder,
        refresh=tokens.refresh,
        metrics=metrics,
        traces=traces,
    )
    outbox = Outbox(store, relay, max_age=settings.outbox_max_age)
    tokens.on_change(outbox.token_changed)
    removals = Removals(store, launcher.session_files())
    recorder = TurnRecorder(
        store, outbox, holder=holder, retention=settings.turn_retention, traces=traces
    )
    registry = TurnRegistry(settings.turn_retention, store, holder)

    def load() -> PoolLoad:
        return pool.load()  # which is made with what the others are told

    describe = SelfDescription(holder, host=socket.gethostname(), pid=os.getpid(), load=load)
    maintenance = StoreMaintenance(
        store,
        recorder,
        registry,
        holder=holder,
        is_dead=orphans.is_dead,
        describe=describe,
    )
    limit = settings.max_processes or limit_by_memory()
    workers = (
        connect_workers(
            store.others,
            registry,
            holder=holder,
            free=lambda: free_of(load().counts),
            release_if_dead=maintenance.release_if_dead,
            process_limit=limit,
            metrics=metrics,
        )
        if store.others is not None
        else None
    )
    pool = _pool(settings, launcher, limit, None if workers is None else workers.machine, metrics)
    recorder.on_store_error = maintenance.run_soon
    maintenance.on_registered = pool.report
    policy = turn_policy_of(settings)
    transcripts = Transcripts(config, settings.claude_user)
    sync = (
        TranscriptSync(store.others, transcripts, settings.transcript_limit, metrics)
        if store.others is not None and settings.transcript_limit
        else None
    )
    reporter = TurnReporter(metrics, lambda: cli.state().version)
    finisher = TurnFinisher(recorder, reporter)
    approvals = Approvals(store, registry, approval_policy_of(settings), metrics)
    attempts = Attempts(store, pool, cli, finisher, policy, transcripts=transcripts, sync=sync)
    conversations = Conversations(store, transcripts, sync)
    runner = Runner(
        store,
        attempts,
        recorder,
        finisher,
        policy,
        approvals=approvals,
        forks=Forks(
            store,
            transcripts,
            conversations,
            histories=FileHistories(config, settings.claude_user),
            checkpoints=Checkpoints(attempts, pool),
            finisher=finisher,
            removals=removals,
            pool=pool,
            workspace=policy.workspace,
            sync=sync,
        ),
        transcripts=transcripts,
        sync=sync,
    )
    waiting, bodies, replies = quotas_of(settings, owners=keys.__len__)
    turn_service = TurnService(
        store,
        pool,
        recorder=recorder,
        registry=registry,
        runner=runner,
        policy=policy,
        quota=waiting,
        removals=removals,
        approvals=approvals,
        remote=None if workers is None else workers.remote,
        publisher=None if workers is None else workers.publisher,
        metrics=metrics,
    )
    maintenance.on_released = turn_service.adoption.adopt_parked
    expiry = ConversationExpiry(
        store,
        turn_service.deletion.delete,
        is_idle=lambda project: turn_service.describe(project).state == "idle",
        retention=settings.compat_retention,
        turn_retention=settings.turn_retention,
    )
    services = Services(
        settings=settings,
        keys=keys,
        operators=Operators(keys, settings.admin_keys, settings.login_keys, settings.metrics_keys),
        store=store,
        maintenance=maintenance,
        cli=cli,
        pool=pool,
        outbox=outbox,
        login=XoLogin(tokens, xo_auth, configured),
        login_at_start=partial(login_at_start, tokens, xo_auth, configured),
        turn_service=turn_service,
        processes=ProcessDirectory(
            pool,
            holder=holder,
            others=store.others,
            channel=None if workers is None else workers.channel,
        ),
        conversations=conversations,
        conversation_expiry=expiry,
        workers=workers,
        describe=describe,
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
        metrics=metrics,
        shared_metrics=_shared(metrics, holder, metrics_folder),
        loop_lag=LoopLag(metrics),
    )
    watch_all(metrics, services, home=config)
    return services


def _shared(metrics: PrometheusMetrics, holder: str, folder: Path | None) -> SharedMetrics:
    """The metrics of all workers; each is known by the part of its name that no slash is in."""
    host, _, worker = holder.partition("/")
    return SharedMetrics(
        metrics,
        worker=worker,
        folder=folder,
        is_dead=lambda name: orphans.is_dead(f"{host}/{name}"),
    )


def _claude(
    settings: Settings, environ: Mapping[str, str]
) -> tuple[ClaudeCli, Launcher, str | None]:
    """The CLI, what starts it, and why it would not start with these settings."""
    launch_config = launch_config_of(settings)
    cli = ClaudeCli(settings.claude_cli_path, environ=environ, launch_config=launch_config)
    launcher = Launcher(
        cli,
        environ=environ,
        launch_config=launch_config,
        timeout=min(settings.start_timeout, settings.claude_timeout),
    )
    return cli, launcher, find_launch_problem(launch_config, environ)


def _pool(
    settings: Settings,
    launcher: Launcher,
    limit: int,
    machine: MachineLimit | None,
    metrics: Metrics,
) -> Pool:
    has_approvals = settings.approvals != "off"
    return Pool(
        launcher,
        limit=limit,
        machine=machine,
        owner_share=settings.owner_processes,
        bundled_skills=settings.bundled_skills,
        idle_timeout=settings.idle_timeout,
        slot_timeout=settings.queue_timeout,
        memory_limit=settings.process_memory_mb * 2**20,
        max_turns=settings.process_max_turns,
        # A process stays in the directory that it was started in.
        spares=0 if settings.project_dirs else settings.spare_processes,
        spare_cwd=str(settings.workspace),
        # What a question has that says nothing; on the demo, what the console's have.
        spare_options=LaunchOptions(
            approvals=settings.approvals == "always" or (settings.demo and has_approvals),
            todo=settings.demo,
        ),
        mcp_servers=settings.mcp_config,
        metrics=metrics,
    )


def _upstream(
    settings: Settings, metrics: Metrics
) -> tuple[UpstreamClient | None, ChatHistory, XoUpstream]:
    """The upstream's clients, or the null ones where it is switched off."""
    if not settings.chat_api_base_url:
        return None, NoChatApi(), DisabledXoAuthApi()
    client = UpstreamClient(settings.chat_api_base_url, metrics=metrics)
    paths = XoPaths(
        start=settings.xo_auth_start_path,
        status=settings.xo_auth_status_path,
        consume=settings.xo_auth_consume_path,
        user_id=settings.xo_get_user_id_path,
        refresh=settings.xo_refresh_path,
    )
    return client, ChatApi(client), XoAuthApi(client, paths)
