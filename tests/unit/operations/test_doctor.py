"""The doctor tells what is wrong, each with its cure, and changes nothing."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cowork.operations import machine_checks
from cowork.operations.checks import Check, worst_of
from cowork.operations.doctor import examine
from cowork.stores.encryption import Encryption
from cowork.stores.sqlite.schema import VERSION
from cowork.stores.sqlite.store import SqliteStore
from tests.fakes import Fakes
from tests.patience import PATIENCE_S
from tests.redis_server import RedisServer
from tests.serving import ROOT, Gunicorn, free_port

Examine = Callable[..., dict[str, list[Check]]]


@pytest.fixture
def look(fake_environ: dict[str, str], tmp_path: Path) -> Examine:
    """What is found with these variables, by name."""

    def look(**given: str) -> dict[str, list[Check]]:
        environ = {**fake_environ, "PORT": str(free_port()), **given}
        found: dict[str, list[Check]] = {}
        for each in examine(environ, tmp_path / ".env"):
            found.setdefault(each.name, []).append(each)
        return found

    return look


def told(checks: list[Check], status: str) -> str:
    """What was found with this status; there is some."""
    found = [each.line() for each in checks if each.status == status]
    assert found, checks
    return "\n".join(found)


def test_where_all_is_well_it_says_so_of_each(look: Examine, tmp_path: Path) -> None:
    found = look(COWORK_STORE=f"sqlite://{tmp_path}/state.db", COWORK_MAX_PROCESSES="2")
    found.pop("permissions")  # the suite's user may be root
    found.pop("limits")  # and its limits are the machine's
    assert {each.status for checks in found.values() for each in checks} == {"ok"}
    assert not (tmp_path / "state.db").exists(), "it changes nothing"
    assert not (tmp_path / "workspace").exists()


def test_faults_of_settings_are_told_together(look: Examine) -> None:
    found = look(PORT="x", COWORK_KEEPALIVE="never")
    assert list(found) == ["settings"]
    assert [each.status for each in found["settings"]] == ["fail", "fail"]
    assert "COWORK_KEEPALIVE" in told(look(COWORK_KEEPALVE="4")["settings"], "warn")


def test_a_cli_that_is_missing_old_or_not_logged_in(
    look: Examine, fakes: Fakes, tmp_path: Path
) -> None:
    missing = told(look(CLAUDE_CLI_PATH=str(tmp_path / "no"))["cli"], "fail")
    assert "CLAUDE_CLI_PATH" in missing
    old = tmp_path / "old"
    old.write_text(
        '#!/bin/sh\n[ "$1" = auth ] && echo \'{"loggedIn": false}\' || echo "1.0.0 (Claude Code)"\n'
    )
    old.chmod(0o755)
    found = look(CLAUDE_CLI_PATH=str(old))
    assert "update it to" in told(found["cli"], "warn")
    assert "/login" in told(found["login"], "fail")
    assert told(look(**fakes.settings())["login"], "ok")


def test_a_store_that_forgets_is_damaged_too_new_or_open_to_others(
    look: Examine, tmp_path: Path
) -> None:
    assert "sqlite:///" in told(look()["store"], "warn")
    folder = tmp_path / "store"
    file, url = folder / "state.db", f"sqlite://{folder}/state.db"
    SqliteStore(file, Encryption(tmp_path / "key"), holder="h").close()
    assert f"of version {VERSION}: 0 sessions" in told(look(COWORK_STORE=url)["store"], "ok")
    with closing(sqlite3.connect(file)) as store:
        store.execute(f"PRAGMA user_version = {VERSION + 1}")
        assert "newer" in told(look(COWORK_STORE=url)["store"], "fail")
    file.chmod(0o666)
    assert "chmod 600" in told(look(COWORK_STORE=url)["store"], "fail")
    file.chmod(0o600)
    file.write_bytes(b"no database" * 100)
    assert "cannot be read" in told(look(COWORK_STORE=url)["store"], "fail")
    redis = look(COWORK_STORE=f"redis://:pass-word-1@127.0.0.1:{free_port()}/0")["store"]
    assert "does not answer" in told(redis, "fail")
    assert "pass-word-1" not in str(redis)


@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_a_redis_says_whether_it_keeps_what_it_has(
    look: Examine, redis_server: RedisServer, appendonly: str
) -> None:
    from redis import Redis  # noqa: PLC0415

    with closing(Redis.from_url(redis_server.url)) as client:
        client.config_set("appendonly", appendonly)
        found = look(COWORK_STORE=redis_server.url)["store"]
        assert "answers" in told(found, "ok")
        assert ("appendonly yes" in str(found)) == (appendonly == "no")


def test_a_workspace_that_cannot_be_made_or_written(look: Examine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = look(COWORK_WORKSPACE=f"{tmp_path}/file/workspace")["workspace"]
    assert "file/workspace is not there" in told(found, "fail")
    assert told(look(COWORK_WORKSPACE=str(tmp_path))["workspace"], "ok")


@pytest.mark.skipif(os.geteuid() != 0, reason="the CLI has another user only where we are root")
def test_a_workspace_that_is_not_the_clis_users(look: Examine, shared: Path) -> None:
    (shared / "workspace").mkdir()
    found = look(
        COWORK_CLAUDE_USER="nobody",
        COWORK_WORKSPACE=str(shared / "workspace"),
        CLAUDE_CONFIG_DIR=str(shared / "claude"),
    )
    faults = told(found.get("workspace", []) + found.get("settings", []), "fail")
    assert "nobody" in faults


def test_files_of_secrets_that_others_may_read(look: Examine, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("me=" + "k" * 40)
    keys.chmod(0o644)
    found = look(COWORK_API_KEYS_FILE=str(keys))["permissions"]
    assert f"chmod 600 {keys}" in told(found, "warn")


def test_a_port_that_is_taken_by_another_or_by_this_server(
    look: Examine, gunicorn: Callable[..., Gunicorn]
) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = str(taken.getsockname()[1])
        assert "is taken" in told(look(HOST="127.0.0.1", PORT=port)["port"], "fail")
    server = gunicorn()
    found = look(HOST="127.0.0.1", PORT=str(server.port))["port"]
    assert "a server answers" in told(found, "ok")


def test_limits_that_are_too_low_for_what_is_set(
    look: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_checks, "OTHER_FILES", 10**9)
    found = look(COWORK_MAX_PROCESSES="1000")["limits"]
    faults = told(found, "warn")
    assert "ulimit -n" in faults
    assert "COWORK_MAX_PROCESSES=1000" in faults


def test_proxies_that_let_nobody_in_or_out(look: Examine) -> None:
    found = look(
        COWORK_TRUSTED_PROXIES="127.0.0.1",
        HTTPS_PROXY=f"http://me:s3cret-1@127.0.0.1:{free_port()}",
    )
    assert "COWORK_API_KEYS_FILE" in told(found["proxies"], "warn")
    assert "HTTPS_PROXY cannot be reached" in told(found["proxies"], "fail")
    assert "s3cret-1" not in str(found)


def test_the_command_ends_as_the_worst_of_what_it_found(
    fake_environ: dict[str, str], tmp_path: Path
) -> None:
    def run(**given: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cowork", "doctor", "--json"],
            env={**fake_environ, "PYTHONPATH": str(ROOT), "PORT": str(free_port()), **given},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )

    well, ill = run(), run(CLAUDE_CLI_PATH="/no/such/cli")
    assert (well.returncode, json.loads(well.stdout)["status"]) == (0, "warn")
    told = json.loads(ill.stdout)
    assert (ill.returncode, told["status"]) == (1, "fail")
    assert {"name", "status", "message", "cure"} == told["checks"][0].keys()
    assert worst_of([]) == "ok"
