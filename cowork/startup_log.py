"""What the operator is told when the server starts: where it is, who is served, what is risky.

The CLI and its login have lines of their own as soon as they are known (`claude/installation.py`).
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from cowork.log import logger
from cowork.runtime import unix_user
from cowork.settings.api_keys import ApiKeys, Operators
from cowork.settings.settings import Settings

log = logger(__name__)


def log_settings(settings: Settings) -> None:
    """Where the server is to be found, where it keeps its state, and what looks wrong."""
    for sentence in settings.warnings:
        log.warning(sentence)
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(settings.host, settings.host)  # noqa: S104
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    log.info("console", url=f"{url}/")
    log.info("server address", url=url)
    log.info("interactive docs", url=f"{url}/docs")
    store = urlsplit(settings.store)
    kept = "until the server stops" if store.scheme == "memory" else "durably"
    place = f"{store.hostname}:{store.port or 6379}" if store.hostname else store.path
    log.info("store", kind=store.scheme, place=place or None, keeps_state=kept)


def log_access(settings: Settings, keys: ApiKeys, operators: Operators) -> None:
    """One line that says who is served, and where."""
    where = {"host": settings.host, "port": settings.port}
    file = settings.api_keys_file
    if not keys.required:
        log.info(
            "no API keys: serving loopback clients only; COWORK_API_KEYS or COWORK_API_KEYS_FILE "
            "lets others in who hold a key",
            **where,
        )
        return
    log.info(
        "API keys required",
        keys=len(keys),
        file=str(file) if file else None,
        hosts=", ".join(settings.allowed_hosts) or "any",
        foreign_pages=", ".join(settings.allowed_origins) or "none",
        **where,
    )
    operators.check()
    if file is not None and file.stat().st_mode & 0o077:
        log.warning("API keys file is accessible to other users: chmod 600 it", file=str(file))


def log_risks(settings: Settings, launch_problem: str | None) -> None:
    """Settings that are dangerous, or that cannot work."""
    if launch_problem is not None:
        log.error(launch_problem)
    if settings.permission_mode == "bypassPermissions":
        log.warning("COWORK_PERMISSION_MODE=bypassPermissions: the CLI may do anything")
    if settings.approvals != "off":
        log.warning(
            "approvals are on: whoever may answer may let run whatever the CLI asks for",
            setting=f"COWORK_APPROVALS={settings.approvals}",
            answered_by=", ".join(settings.approval_keys) or "the owner of each turn",
        )
    user = settings.claude_user
    if user is None:
        if os.geteuid() == unix_user.ROOT:
            log.warning("the CLI runs as root; COWORK_CLAUDE_USER gives it a user of its own")
        return
    for file in (Path(".env").absolute(), settings.api_keys_file):
        if file and unix_user.can_access(user, file, os.R_OK):
            log.warning(
                "file of secrets is readable by the CLI's user: chmod 600 it",
                file=str(file),
                user=user.name,
            )
    if not unix_user.can_read_foreign_environ():
        log.warning(
            "CAP_SYS_PTRACE missing: processes that tools leave behind are not found",
            user=user.name,
        )


def log_lost_sessions(user: unix_user.UnixUser | None, config_folder: Path) -> None:
    """Say so where the CLI's user could keep no transcript: it answers all the same."""
    if user is None:
        return
    existing = next(each for each in (config_folder, *config_folder.parents) if each.exists())
    if not unix_user.can_access(user, existing, os.W_OK | os.X_OK):
        log.warning(
            "the CLI's user cannot write its configuration folder: no session outlives its process",
            folder=str(config_folder),
            user=user.name,
        )
