"""The composition root: settings in, every part made, connected and, in the end, closed.

Nobody else reads settings or makes a part.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cowork import log as logging
from cowork.claude import command, orphans
from cowork.claude.disk_space import Room
from cowork.claude.installation import ClaudeCli
from cowork.claude.pool.pool import Pool
from cowork.claude.process.launcher import Starter, find_setpriv
from cowork.claude.transcript import Transcripts
from cowork.claude.workspace import Workspace
from cowork.errors import QueueFull, ShuttingDown, StoreUnavailable
from cowork.history.chat_api import ChatApi, ChatHistory, NoChatApi
from cowork.history.outbox import Outbox
from cowork.history.relay import Relay
from cowork.runtime import unix_user
from cowork.runtime.quota import Quota
from cowork.settings.api_keys import Keys, Operators
from cowork.settings.settings import Settings
from cowork.stores import open_store
from cowork.stores.protocol import Store
from cowork.turns.maintenance import Keeper
from cowork.turns.recorder import TurnRecorder
from cowork.turns.registry import TurnRegistry
from cowork.turns.removals import Removals
from cowork.turns.runner import Rules, Runner
from cowork.turns.service import TurnService
from cowork.upstream.http import Http
from cowork.xo.auth_api import NoXoAuth, XoAuth, XoPaths, XoUpstream
from cowork.xo.login import Login

log = logging.logger(__name__)

OUTBOX_CLOSE = 1.0
# Of the largest size so many bodies may be held: in memory a text takes up to four times its bytes
# on the wire, and each of two owners may send the largest.
BODIES = 8
ROOM = 256 * 2**20


@dataclass(slots=True)
class Services:
    """Every part of the server, connected; `close` ends all of them, in order.

    `refusal` is why the CLI would not start, where the settings alone say so.
    """

    settings: Settings
    keys: Keys
    operators: Operators
    store: Store
    keeper: Keeper
    cli: ClaudeCli
    pool: Pool
    outbox: Outbox
    login: Login
    conversation: TurnService
    removals: Removals
    bodies: Quota
    replies: Quota
    upstream: Http | None
    stopping: threading.Event
    room: Room
    refusal: str | None = None
    closed: bool = False
    closers: list[Callable[[], None]] = field(default_factory=list)

    def on_close(self, call: Callable[[], None]) -> None:
        """Have `close` call this too, when the turns are over."""
        self.closers.append(call)

    def reasons(self) -> list[str]:
        """Why a question would not be answered now; empty when it would.  Never waits."""
        cli = self.cli.state()
        counts = self.pool.counts()
        found = [each for each in (self.refusal, cli.problem) if each is not None]
        if self.stopping.is_set():
            found.append("the server is shutting down")
        if counts["busy"] >= counts["limit"]:
            found.append("every Claude process is busy")
        starting = self.pool.start_problem or self.pool.spares.problem
        if starting is not None and self.refusal is None and cli.problem is None:
            found.append(starting)
        if not os.path.isdir(self.settings.workspace):  # noqa: PTH112 - unlike Path's it never raises
            found.append(f"the workspace is gone: {self.settings.workspace}")
        found += self.room.reasons()
        if not self.keeper.ok:
            found.append("the store is away")
        return [*found, *(self.outbox.reasons() if self.keeper.ok else [])]

    def session_count(self) -> int:
        """How many sessions there are; while the store is away, how many there were."""
        try:
            return self.store.session_count()
        except StoreUnavailable:
            return self.keeper.sessions

    def start(self) -> Self:
        """Begin what runs in the background; nothing here makes the caller wait."""
        swept = orphans.sweep_dead_servers()
        if swept:
            log.warning("swept what a killed server left behind", killed=len(swept))
        self.cli.state()
        self.keeper.start()
        self.removals.start()
        self._make_workspace()
        self.pool.start()
        self._start_outbox()
        threading.Thread(
            target=self.login.consume_at_start, args=(self.stopping,), name="consume", daemon=True
        ).start()
        self._say_who_can_get_in()
        self._warn()
        return self

    def _make_workspace(self) -> None:
        try:
            unix_user.make_folder(self.settings.workspace, self.settings.claude_user)
        except OSError as fault:
            log.error(
                "the workspace cannot be made", folder=str(self.settings.workspace), why=str(fault)
            )

    def _start_outbox(self) -> None:
        try:
            self.outbox.start()
        except StoreUnavailable as fault:
            log.warning("the store is away", why=fault.message)

    def drain(self, timeout: float, hurry: Callable[[], bool] = lambda: False) -> None:
        """Take no new turns; those that run have `timeout` seconds, or until `hurry()`, to end.

        What is not over by then is interrupted, and every stream told so.
        """
        self.stopping.set()
        self.conversation.shut()
        self.pool.spares.stop()
        deadline = time.monotonic() + timeout
        while self.conversation.busy() and time.monotonic() < deadline and not hurry():
            time.sleep(0.05)
        self.conversation.stop_all(ShuttingDown("the server is shutting down", retry_after=5))

    def close(self) -> None:
        """End every turn, process, thread and connection; calling it twice is no error."""
        if self.closed:
            return
        self.closed = True
        for step in (
            lambda: self.drain(0.0),
            self._say_what_is_gone,
            self.pool.close,
            self.removals.close,
            lambda: self.outbox.close(OUTBOX_CLOSE),
            self.keeper.close,
            self.upstream.close if self.upstream is not None else lambda: None,
            self.cli.close,
            *self.closers,
            self.conversation.turns.close,
            self.store.close,
        ):
            try:
                step()
            except Exception:
                # Nobody closes again: what comes behind must not be left open by this.
                log.exception("closing a part failed")

    def _say_what_is_gone(self) -> None:
        if self.store.shared:
            return
        sessions, token = self.store.session_count(), self.store.token() is not None
        if sessions or token:
            log.warning(
                "sessions of memory:// are gone now", sessions=sessions, and_the_token=token
            )

    def _say_who_can_get_in(self) -> None:
        """One line that says who is served, and where."""
        given = self.settings
        where = {"host": given.host, "port": given.port}
        if not self.keys.needed:
            log.info(
                "only callers on this machine get in; COWORK_API_KEYS or COWORK_API_KEYS_FILE "
                "lets others in who hold a key",
                **where,
            )
            return
        log.info(
            "whoever holds a key gets in",
            keys=len(self.keys),
            file=str(given.api_keys_file) if given.api_keys_file else None,
            hosts=", ".join(given.allowed_hosts) or "any",
            foreign_pages=", ".join(given.allowed_origins) or "none",
            **where,
        )
        self.operators.check()
        if given.api_keys_file is not None and given.api_keys_file.stat().st_mode & 0o077:
            log.warning("others on this machine may read or write the file of keys: chmod 600 it")

    def _warn(self) -> None:
        if self.refusal is not None:
            log.error(self.refusal)
        if self.settings.permission_mode == "bypassPermissions":
            log.warning("COWORK_PERMISSION_MODE=bypassPermissions: the CLI may do anything")
        user = self.settings.claude_user
        if user is None and os.geteuid() == unix_user.ROOT:
            log.warning("the CLI runs as root; COWORK_CLAUDE_USER gives it a user of its own")
        for file in (Path(".env").absolute(), self.settings.api_keys_file):
            if user and file and unix_user.may(user, file, os.R_OK):
                log.warning("the CLI's user can read it: chmod 600", file=str(file), user=user.name)
        if user is not None and not unix_user.sees_others():
            log.warning(
                "what tools leave behind is not found without CAP_SYS_PTRACE", user=user.name
            )


def open_services(settings: Settings, environ: Mapping[str, str] | None = None) -> Services:
    """Make every part; `environ` is what the CLI's allow-list chooses from (default: ours)."""
    environ = dict(os.environ if environ is None else environ)
    logging.hide(*settings.secrets())
    holder = orphans.own_name()
    keys = Keys(settings.api_keys, settings.api_keys_file)
    store = open_store(
        settings.store,
        outbox_limit=settings.outbox_limit,
        outbox_bytes=settings.outbox_bytes,
        holder=holder,
        key_file=settings.store_key_file,
        owners=keys.__len__,
    )
    manner = command.Manner(
        permission_mode=settings.permission_mode,
        trust_projects=settings.trust_projects,
        shared_workspace=not settings.project_dirs,
        retries=settings.cli_retries,
        setpriv=find_setpriv(),
        account=settings.claude_user,
        passed=settings.cli_env,
    )
    cli = ClaudeCli(settings.claude_cli_path, environ=environ, manner=manner)
    starter = Starter(
        cli,
        environ=environ,
        manner=manner,
        timeout=min(settings.start_timeout, settings.claude_timeout),
    )
    pool = Pool(
        starter,
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
    _check_home(settings.claude_user, starter.config_folder())
    upstream, history, xo_auth = _upstream(settings)
    login = Login(
        store,
        xo_auth,
        static_token=settings.chat_api_token,
        env_auth_session_id=settings.xo_auth_session_id,
        env_poll_token=settings.xo_poll_token,
    )
    relay = Relay(store, history, login.bearer, renew=login.renew)
    outbox = Outbox(store, relay, max_age=settings.outbox_max_age)
    login.on_change(outbox.token_changed)
    rules = Rules(
        workspace=Workspace(settings.workspace, per_project=settings.project_dirs),
        permission_mode=settings.permission_mode,
        slash_commands=settings.slash_commands,
        timeout=settings.claude_timeout,
        queue_limit=settings.queue_limit,
        disconnect_grace=settings.disconnect_grace,
    )
    room = max(ROOM, BODIES * settings.max_body)
    transfer = settings.transfer_bytes or room
    waiting = Quota(
        "waiting questions",
        most=settings.waiting_turns,
        most_bytes=settings.waiting_bytes or room,
        owners=keys.__len__,
        share=QueueFull,
    )
    ledger = TurnRecorder(store, outbox, holder=holder, retention=settings.turn_retention)
    turns = TurnRegistry(settings.turn_retention, store, holder)
    keeper = Keeper(store, ledger, turns, holder=holder, is_dead=orphans.is_gone)
    ledger.on_trouble = keeper.look_now
    config = starter.config_folder()
    removals = Removals(store, starter.session_files())
    runner = Runner(store, pool, cli, ledger, rules, transcripts=Transcripts(config))
    return Services(
        settings=settings,
        keys=keys,
        operators=Operators(keys, settings.admin_keys, settings.login_keys),
        store=store,
        keeper=keeper,
        cli=cli,
        pool=pool,
        outbox=outbox,
        login=login,
        conversation=TurnService(
            store,
            pool,
            ledger=ledger,
            turns=turns,
            runner=runner,
            rules=rules,
            quota=waiting,
            removals=removals,
        ),
        removals=removals,
        bodies=Quota("bytes of bodies", most_bytes=transfer, owners=keys.__len__),
        replies=Quota("bytes of replies", most_bytes=transfer, owners=keys.__len__),
        upstream=upstream,
        stopping=threading.Event(),
        room=Room(
            {"Claude's folder": config, "the workspace": settings.workspace}, settings.claude_user
        ),
        refusal=_refusal(manner, environ),
    )


def _check_home(user: unix_user.Account | None, kept: Path) -> None:
    """Say so where the CLI's user could keep no transcript: it answers all the same."""
    if user is None:
        return
    there = next(folder for folder in (kept, *kept.parents) if folder.exists())
    if not unix_user.may(user, there, os.W_OK | os.X_OK):
        log.warning(
            "the CLI's user cannot write there: no session outlives its process",
            folder=str(kept),
            user=user.name,
        )


def _refusal(manner: command.Manner, environ: Mapping[str, str]) -> str | None:
    """Why the CLI refuses to start with these settings; None where it does not."""
    if manner.permission_mode != "bypassPermissions" or manner.account is not None:
        return None
    given = command.environment(environ, marker="", manner=manner)
    sandboxed = given.get("IS_SANDBOX") == "1"
    if sandboxed or given.get("CLAUDE_CODE_BUBBLEWRAP") or os.geteuid() != unix_user.ROOT:
        return None
    return (
        "the Claude CLI refuses COWORK_PERMISSION_MODE=bypassPermissions as root: set "
        "COWORK_CLAUDE_USER, or, in a sandbox, IS_SANDBOX=1 and COWORK_CLI_ENV=IS_SANDBOX"
    )


def _upstream(settings: Settings) -> tuple[Http | None, ChatHistory, XoUpstream]:
    """The upstream's clients, or the null ones where it is switched off."""
    if not settings.chat_api_base_url:
        return None, NoChatApi(), NoXoAuth()
    http = Http(settings.chat_api_base_url)
    paths = XoPaths(
        start=settings.xo_auth_start_path,
        status=settings.xo_auth_status_path,
        consume=settings.xo_auth_consume_path,
        user_id=settings.xo_get_user_id_path,
        refresh=settings.xo_refresh_path,
    )
    return http, ChatApi(http), XoAuth(http, paths)
