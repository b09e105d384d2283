"""The unit: systemd takes it, it exposes little, and within its sandbox the real CLI answers."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cowork.demo.model import serve
from tests import program
from tests.conftest import missing
from tests.patience import PATIENCE_S
from tests.serving import ROOT, Gunicorn, free_port

pytestmark = pytest.mark.e2e

FOLDER = ROOT / "deploy" / "systemd"
UNIT = FOLDER / "xo-cowork.service"
STATE = Path("/var/lib/xo-cowork")
COMMAND = "/opt/xo-cowork/bin/xo-cowork serve"
MAX_EXPOSURE = 4.0


def directives(name: str) -> list[str]:
    """The values that the unit gives this directive."""
    return re.findall(rf"(?m)^{name}=(.*)$", UNIT.read_text())


def environment() -> dict[str, str]:
    return dict(each.split("=", 1) for each in directives("Environment"))


def systemd(*words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(words[0]) is None:
        missing(words[0], "apt-get install systemd")
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a command that is on this machine."""
    file = tmp_path / UNIT.name
    text = UNIT.read_text()
    assert f"ExecStart={COMMAND}\n" in text
    file.write_text(text.replace(f"ExecStart={COMMAND}\n", "ExecStart=/bin/true\n"))
    return file


def test_systemd_takes_the_unit_as_it_is(unit: Path) -> None:
    found = systemd("systemd-analyze", "verify", "--man=no", str(unit))
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_it_exposes_little(unit: Path) -> None:
    found = systemd("systemd-analyze", "security", "--offline=true", "--no-pager", str(unit))
    (level,) = re.findall(r"exposure level for \S+: ([0-9.]+)", found.stdout)
    assert float(level) <= MAX_EXPOSURE


def test_a_stop_has_more_time_than_the_server_takes() -> None:
    (stop,) = directives("TimeoutStopSec")
    assert int(stop) > 30, "COWORK_GRACEFUL_TIMEOUT"
    assert directives("Type") == ["notify"]
    assert directives("KillMode") == ["mixed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="users are made by root")
def test_its_user_and_its_folders_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc" / "xo-cowork").mkdir(parents=True)
    for name in ("env", "keys"):
        (tmp_path / "etc" / "xo-cowork" / name).touch(mode=0o644)
    root = f"--root={tmp_path}"
    made = systemd("systemd-sysusers", root, str(FOLDER / "xo-cowork.sysusers"))
    assert made.returncode == 0, made.stderr
    made = systemd("systemd-tmpfiles", "--create", root, str(FOLDER / "xo-cowork.tmpfiles"))
    assert (made.returncode, made.stderr) == (0, "")
    (user,) = directives("User")
    (line,) = (tmp_path / "etc" / "passwd").read_text().splitlines()
    assert line.startswith(f"{user}:")
    modes = {
        name: (tmp_path / name).stat().st_mode & 0o777
        for name in ("etc/xo-cowork/env", "etc/xo-cowork/keys", "var/lib/xo-cowork/workspace")
    }
    assert list(modes.values()) == [0o640, 0o600, 0o700]


def test_the_operators_command_has_the_units_settings() -> None:
    script = (FOLDER / "xo-cowork-admin").read_text()
    for name, value in environment().items():
        assert re.search(rf"\b{name}={re.escape(value)}(\s|$)", script), name
    assert subprocess.run(["sh", "-n", FOLDER / "xo-cowork-admin"], check=False).returncode == 0  # noqa: S607


SANDBOX = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /var/lib
mkdir {state}
mount --bind {folder} {state}
mount -t tmpfs -o size=64m tmpfs /dev/shm
mount -o remount,bind,ro /
cd {state}
{private_tmp}
exec setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs "$@"
"""


@contextmanager
def sandboxed(folder: Path, environ: dict[str, str]) -> Iterator[Gunicorn]:
    """The unit's command in as much of its sandbox as can be made without systemd.

    A root that cannot be written but for the state's folder, a /tmp of its own, no capability.
    """
    for tool in ("unshare", "setpriv"):
        if shutil.which(tool) is None:
            missing(tool, "apt-get install util-linux")
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    enter = ["unshare", *rights, "--mount"]
    if subprocess.run([*enter, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace can be made here")
    # What the tests and the checkout have in /tmp stays in sight.
    is_in_tmp = any(each.is_relative_to("/tmp") for each in (ROOT, Path(sys.prefix)))  # noqa: S108
    script = SANDBOX.format(
        state=shlex.quote(str(STATE)),
        folder=shlex.quote(str(folder)),
        private_tmp="" if is_in_tmp else "mount -t tmpfs tmpfs /tmp",
    )

    class Sandboxed(Gunicorn):
        prefix = (*enter, "sh", "-c", script, "sh")

    (folder / "log").mkdir()
    server = Sandboxed(environ, log=folder / "log" / "server.log")
    try:
        yield server
    finally:
        server.close()


def test_in_its_sandbox_the_real_cli_answers_and_writes_nowhere_else(
    shared: Path, real_claude: str
) -> None:
    folder = shared / "state"
    folder.mkdir()
    with serve(delay=0.01) as model:
        environ = {
            "PATH": os.environ["PATH"],
            **environment(),
            "PORT": str(free_port()),
            "CLAUDE_CLI_PATH": program.knowing_its_login(real_claude, folder / "bin").replace(
                str(folder), str(STATE)
            ),
            "ANTHROPIC_BASE_URL": model.url,
            "ANTHROPIC_API_KEY": "sk-dummy",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CHAT_API_BASE_URL": "",
            "COWORK_SPARE_PROCESSES": "0",
            # Whatever holds a tool back is the sandbox.
            "COWORK_PERMISSION_MODE": "bypassPermissions",
            "COWORK_CLI_ENV": "IS_SANDBOX",
            "IS_SANDBOX": "1",
        }
        with sandboxed(folder, environ) as server:
            reply = server.ask('[[tool Bash {"command": "touch a.txt; touch /usr/written"}]]')
            assert reply.status_code == 200, (reply.text, server.log.read_text())
            assert server.get("/health/ready").json() == {"ready": True, "reasons": []}
        assert (folder / "state" / "state.db").is_file()
        assert (folder / "workspace" / "a.txt").is_file()
        assert "/usr/written" in reply.json()["message"]
        assert "Read-only file system" in reply.json()["message"]
        assert list(folder.glob(".claude/projects/*/*.jsonl"))
        assert not Path("/usr/written").exists()
