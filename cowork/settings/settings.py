"""Every setting, typed, in one place.

`load()` reads the environment over a `.env` file, checks every variable and reports all faults at
once.  `server/wsgi.py` and `server/gunicorn_conf.py` are its only callers; all else is handed
values.
To add a setting: a line in `Settings`, a row in docs/configuration.md, a line in `.env.example`
(a test fails until all three are there).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cowork.runtime import unix_user
from cowork.runtime.unix_user import UnixUser
from cowork.settings.env_file import DotenvError, read
from cowork.settings.parsers import (
    Network,
    absolute_path,
    api_keys,
    base_url,
    boolean,
    choice,
    comma_list,
    hosts,
    integer,
    keys_file,
    mcp_servers,
    networks,
    optional_string,
    optional_url_path,
    origins,
    seconds,
    store_url,
    string,
    token,
    unix_user_or_none,
    url_path,
)

PERMISSION_MODES = ("acceptEdits", "auto", "bypassPermissions", "default", "dontAsk", "plan")


class SettingsError(Exception):
    """One or more variables cannot be used; `faults` has a line for each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(["invalid settings:", *(f"  {f}" for f in faults)]))
        self.faults = faults


def setting(
    variable: str,
    default: str,
    parse: Callable[[str], Any],
    *,
    secret: bool = False,
    echoed: bool = True,
) -> Any:
    """A field read from `variable`; `default` is what an operator would have written.

    A fault in it shows the value unless that is `secret`, or not to be `echoed`.
    """
    facts = {"variable": variable, "default": default, "parse": parse, "secret": secret}
    facts["echoed"] = echoed and not secret
    return dataclasses.field(metadata=facts, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything an operator can set; durations are seconds, sizes bytes."""

    host: str = setting("HOST", "0.0.0.0", string)  # noqa: S104 - access is decided per caller
    port: int = setting("PORT", "5002", integer(0, 65535))
    claude_cli_path: str = setting("CLAUDE_CLI_PATH", "claude", string)
    claude_timeout: float = setting("CLAUDE_TIMEOUT", "300", seconds(0.1))

    chat_api_base_url: str = setting(
        "CHAT_API_BASE_URL", "http://localhost:5001", base_url, echoed=False
    )
    chat_api_token: str | None = setting("CHAT_API_TOKEN", "", token, secret=True)
    xo_auth_start_path: str = setting("XO_AUTH_START_PATH", "/auth/browser/start", url_path)
    xo_auth_status_path: str = setting("XO_AUTH_STATUS_PATH", "/auth/browser/status", url_path)
    xo_auth_consume_path: str = setting("XO_AUTH_CONSUME_PATH", "/auth/browser/consume", url_path)
    xo_get_user_id_path: str = setting("XO_GET_USER_ID_PATH", "/get-user-id", url_path)
    xo_auth_session_id: str | None = setting("XO_AUTH_SESSION_ID", "", optional_string, secret=True)
    xo_poll_token: str | None = setting("XO_POLL_TOKEN", "", optional_string, secret=True)

    xo_refresh_path: str | None = setting("COWORK_XO_REFRESH_PATH", "", optional_url_path)

    api_keys: Mapping[str, str] = setting("COWORK_API_KEYS", "", api_keys, secret=True)
    api_keys_file: Path | None = setting("COWORK_API_KEYS_FILE", "", keys_file)
    admin_keys: tuple[str, ...] = setting("COWORK_ADMIN_KEYS", "", comma_list)
    login_keys: tuple[str, ...] = setting("COWORK_LOGIN_KEYS", "", comma_list)
    metrics_keys: tuple[str, ...] = setting("COWORK_METRICS_KEYS", "", comma_list)
    allowed_hosts: tuple[str, ...] = setting("COWORK_ALLOWED_HOSTS", "", hosts)
    allowed_origins: tuple[str, ...] = setting("COWORK_ALLOWED_ORIGINS", "", origins)
    trusted_proxies: tuple[Network, ...] = setting("COWORK_TRUSTED_PROXIES", "", networks)
    max_body: int = setting("COWORK_MAX_BODY", str(32 * 2**20), integer(1024, 2**30))
    transfer_bytes: int = setting("COWORK_TRANSFER_BYTES", "0", integer(0, 2**40))

    claude_user: UnixUser | None = setting("COWORK_CLAUDE_USER", "", unix_user_or_none)
    store: str = setting("COWORK_STORE", "memory://", store_url, secret=True)
    store_key_file: Path = setting("COWORK_STORE_KEY_FILE", "~/.xo-cowork/store.key", absolute_path)
    transcript_limit: int = setting("COWORK_TRANSCRIPT_LIMIT", str(16 * 2**20), integer(0, 2**30))
    workers: int = setting("COWORK_WORKERS", "1", integer(1, 256))
    workspace: Path = setting("COWORK_WORKSPACE", "~/.xo-cowork/workspace", absolute_path)
    project_dirs: bool = setting("COWORK_PROJECT_DIRS", "false", boolean)
    trust_projects: bool = setting("COWORK_TRUST_PROJECTS", "false", boolean)
    permission_mode: str = setting("COWORK_PERMISSION_MODE", "default", choice(*PERMISSION_MODES))
    approvals: str = setting("COWORK_APPROVALS", "off", choice("off", "optional", "always"))
    approval_timeout: float = setting("COWORK_APPROVAL_TIMEOUT", "300", seconds(1.0))
    approval_keys: tuple[str, ...] = setting("COWORK_APPROVAL_KEYS", "", comma_list)
    mcp_config: Mapping[str, Mapping[str, Any]] = setting(
        "COWORK_MCP_CONFIG", "", mcp_servers, secret=True
    )
    compat_tools: str = setting("COWORK_COMPAT_TOOLS", "ignore", choice("ignore", "reject"))
    checkpoints: bool = setting("COWORK_CHECKPOINTS", "false", boolean)
    bundled_skills: bool = setting("COWORK_BUNDLED_SKILLS", "false", boolean)
    slash_commands: bool = setting("COWORK_SLASH_COMMANDS", "false", boolean)
    cli_env: tuple[str, ...] = setting("COWORK_CLI_ENV", "", comma_list)
    cli_retries: int = setting("COWORK_CLI_RETRIES", "2", integer(0, 15))
    start_timeout: float = setting("COWORK_START_TIMEOUT", "30", seconds(0.1, 3600.0))

    max_processes: int = setting("COWORK_MAX_PROCESSES", "0", integer(0, 1024))
    owner_processes: int = setting("COWORK_OWNER_PROCESSES", "0", integer(0, 1024))
    idle_timeout: float = setting("COWORK_IDLE_TIMEOUT", "900", seconds(0.1))
    queue_timeout: float = setting("COWORK_QUEUE_TIMEOUT", "30", seconds(0.0))
    process_memory_mb: int = setting("COWORK_PROCESS_MEMORY_MB", "1024", integer(0, 10**6))
    process_max_turns: int = setting("COWORK_PROCESS_MAX_TURNS", "0", integer(0, 10**9))
    spare_processes: int = setting("COWORK_SPARE_PROCESSES", "1", integer(0, 64))

    queue_limit: int = setting("COWORK_QUEUE_LIMIT", "8", integer(0, 1000))
    waiting_turns: int = setting("COWORK_WAITING_TURNS", "2000", integer(2, 10**6))
    waiting_bytes: int = setting("COWORK_WAITING_BYTES", "0", integer(0, 2**40))
    first_event_wait: float = setting("COWORK_FIRST_EVENT_WAIT", "10", seconds(0.0))
    keepalive: float = setting("COWORK_KEEPALIVE", "4", seconds(0.05))
    disconnect_grace: float = setting("COWORK_DISCONNECT_GRACE", "30", seconds(-1.0))
    turn_retention: float = setting("COWORK_TURN_RETENTION", "600", seconds(1.0))
    compat_retention: float = setting("COWORK_COMPAT_RETENTION", "86400", seconds(1.0))
    read_timeout: float = setting("COWORK_READ_TIMEOUT", "10", seconds(0.1, 3600.0))
    send_timeout: float = setting("COWORK_SEND_TIMEOUT", "60", seconds(1.0))
    outbox_limit: int = setting("COWORK_OUTBOX_LIMIT", "10000", integer(1, 10**7))
    outbox_bytes: int = setting("COWORK_OUTBOX_BYTES", str(256 * 2**20), integer(2**20, 2**40))
    outbox_max_age: float = setting("COWORK_OUTBOX_MAX_AGE", "0", seconds(0.0, 10**9))

    graceful_timeout: int = setting("COWORK_GRACEFUL_TIMEOUT", "30", integer(5, 3600))
    demo: bool = setting("COWORK_DEMO", "false", boolean)
    log_level: str = setting(
        "COWORK_LOG_LEVEL", "info", choice("debug", "info", "warning", "error")
    )
    log_format: str = setting("COWORK_LOG_FORMAT", "auto", choice("auto", "json", "text"))

    # What looks wrong in what is set, a sentence each; no setting itself.
    warnings: tuple[str, ...] = ()

    def secrets(self) -> tuple[str, ...]:
        """Every secret value held, for the log's mask."""
        password = urlsplit(self.store).password
        single = (
            self.chat_api_token,
            self.xo_auth_session_id,
            self.xo_poll_token,
            password,
            password and unquote(password),
        )
        return (*(value for value in single if value), *self.api_keys.values())


def load(environ: Mapping[str, str] | None = None, dotenv: Path | None = None) -> Settings:
    """Read all settings: the environment over `.env` over the defaults.

    `dotenv` defaults to `.env` in the current directory and may be absent.  Nothing is exported:
    what stands in the file reaches neither `os.environ` nor the CLI.

    With `COWORK_CLAUDE_USER` the workspace's `~` is that user's home.

    Raises `SettingsError` naming every variable that cannot be used.
    """
    try:
        found = read(
            os.environ if environ is None else environ,
            Path(".env") if dotenv is None else dotenv,
            {field.metadata["variable"] for field in setting_fields()},
        )
    except DotenvError as fault:
        raise SettingsError([str(fault)]) from fault
    given = found.values
    values: dict[str, Any] = {"warnings": found.warnings}
    faults: list[str] = []
    for field in setting_fields():
        facts = field.metadata
        raw = given.get(facts["variable"], facts["default"])
        if not raw.strip() and facts["parse"] is not base_url:
            raw = facts["default"]  # `PORT=` means the default; `CHAT_API_BASE_URL=` means off
        try:
            values[field.name] = facts["parse"](raw)
        except ValueError as fault:
            shown = f", got {raw!r}" if facts["echoed"] else ""
            name = found.source.get(facts["variable"], facts["variable"])
            faults.append(f"{name}: {fault}{shown}")
    if values.get("claude_user") is not None and "workspace" in values:
        raw = given.get("COWORK_WORKSPACE", "").strip() or _field("workspace").metadata["default"]
        try:
            values["workspace"] = _workspace_of(values["claude_user"], raw)
        except ValueError as fault:
            faults.append(f"COWORK_WORKSPACE: {fault}")
    if faults:
        raise SettingsError(faults)
    return Settings(**values)


def setting_fields() -> list[dataclasses.Field[Any]]:
    """The fields that an operator can set; the metadata of each is what `setting` was given."""
    return [field for field in dataclasses.fields(Settings) if field.metadata]


def _field(name: str) -> dataclasses.Field[Any]:
    return next(field for field in setting_fields() if field.name == name)


def _workspace_of(user: UnixUser, raw: str) -> Path:
    """The workspace of a CLI that runs as another user, whose home `~` is then.

    Raises ValueError where that user could not get there.
    """
    path = Path(raw) if not raw.startswith("~/") else user.home / raw.removeprefix("~/")
    if raw.startswith("~/") and not unix_user.can_access(user, user.home, os.W_OK | os.X_OK):
        raise ValueError(f"{user.name} has no home to write in: set it to a folder elsewhere")
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    wanted = os.R_OK | os.W_OK | os.X_OK if there == path else os.X_OK
    if not unix_user.can_access(user, there, wanted):
        raise ValueError(f"{user.name} may not work in {there}")
    return path
