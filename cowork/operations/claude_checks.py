"""The doctor's look at the CLI: is it there, new enough, logged in, and where may it write."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from cowork.claude import executable
from cowork.claude.disk_space import DiskSpace
from cowork.claude.installation import OLDEST_VERSION
from cowork.claude.one_shot import OneShotCommands, login_status_in, version_in
from cowork.claude.stream_json.failures import login_advice
from cowork.errors import ClaudeUnavailable
from cowork.operations.checks import FAIL, OK, WARN, Check
from cowork.operations.disk import existing
from cowork.operations.places import places_of
from cowork.policies import launch_config_of
from cowork.readiness import find_launch_problem
from cowork.runtime import unix_user
from cowork.settings.settings import Settings


def check_claude(settings: Settings, environ: Mapping[str, str]) -> Iterator[Check]:
    """The CLI and its login."""
    launch_config = launch_config_of(settings)
    problem = find_launch_problem(launch_config, environ)
    if problem is not None:
        yield Check("cli", FAIL, problem)
    try:
        path = executable.find(settings.claude_cli_path, environ, settings.claude_user)
        commands = OneShotCommands(environ, launch_config)
        yield _version(path, version_in(commands.run(path, "--version")[1]))
        yield _login(path, login_status_in(commands.run(path, "auth", "status")[1]))
    except ClaudeUnavailable as fault:
        yield Check("cli", FAIL, fault.message)


def _version(path: str, version: str | None) -> Check:
    found = re.match(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})", version or "")
    if found is None:
        return Check("cli", WARN, f"{path} does not tell its version", "is it Claude Code?")
    oldest = ".".join(map(str, OLDEST_VERSION))
    if tuple(map(int, found.groups())) < OLDEST_VERSION:
        said = f"{path} is {version}, with which one session may read another's transcript"
        return Check("cli", WARN, said, f"update it to {oldest} or newer")
    return Check("cli", OK, f"claude {version} at {path}")


def _login(path: str, said: dict[str, object] | None) -> Check:
    if said is None:
        return Check(
            "login", WARN, "the CLI does not say whether it is logged in", "ask it something"
        )
    if said.get("loggedIn") is not True:
        return Check("login", FAIL, "not logged in", login_advice(path))
    return Check("login", OK, f"logged in by {said.get('authMethod') or 'some method'}")


def check_workspace(settings: Settings, environ: Mapping[str, str]) -> Iterator[Check]:
    """Whether the workspace is there, and whether the CLI's user can write there and at home."""
    places = places_of(settings, environ)
    user = places.cli_user.name if places.cli_user is not None else "the server's user"
    if not places.workspace.is_dir():
        there = existing(places.workspace)
        if not there.is_dir() or not _may_write(places.cli_user, there):
            said = f"{places.workspace} is not there, and {user} may not make it in {there}"
            yield Check("workspace", FAIL, said, "make it, and give it to that user")
        else:
            said = f"{places.workspace} is not there yet; the start makes it"
            yield Check("workspace", OK, said)
    folders = {"Claude's folder": places.config, "the workspace": places.workspace}
    found = DiskSpace(folders, places.cli_user).reasons()
    for reason in found:
        cure = "make room there" if "disk" in reason else f"let {user} write there"
        yield Check("workspace", FAIL, reason, cure)
    if places.workspace.is_dir() and not found:
        yield Check("workspace", OK, f"{user} can write {places.workspace} and {places.config}")


def _may_write(user: unix_user.UnixUser | None, folder: Path) -> bool:
    wanted = os.W_OK | os.X_OK
    return os.access(folder, wanted) if user is None else unix_user.can_access(user, folder, wanted)
