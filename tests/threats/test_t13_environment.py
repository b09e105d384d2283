"""T13 and T18: a tool that was talked into anything finds no secret of the server's.

On the real CLI, which runs as another user than the server, and may do what it likes as that one.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cowork.runtime import unix_user
from tests.background import BackgroundCalls
from tests.contract.replies import problem
from tests.e2e.environment import Stage, at_long_tool, kill, long_tool, open_stage
from tests.serving import Gunicorn, wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can give the CLI to another user"),
]

USER = "nobody"
KEY = "canary-api-key-0123456789-0123456789"
SECRETS = {
    "COWORK_API_KEYS": f"me={KEY}",
    "CHAT_API_TOKEN": "canary-chat-token",
    "XO_AUTH_SESSION_ID": "",
    "SOME_OTHER_SECRET": "canary-other",
}


@pytest.fixture
def folder(shared: Path) -> Path:
    """Where the other user's CLI keeps what is its own."""
    found = pwd.getpwnam(USER)
    for name in ("config", "workspace"):
        (shared / name).mkdir(mode=0o700)
        os.chown(shared / name, found.pw_uid, found.pw_gid)
    (shared / "secret").write_text("canary-in-a-file")
    (shared / "secret").chmod(0o600)
    return shared


@pytest.fixture
def stage(real_claude: str, folder: Path) -> Iterator[Stage]:
    with open_stage(
        folder,
        reachable(real_claude, folder),
        COWORK_CLAUDE_USER=USER,
        COWORK_PERMISSION_MODE="bypassPermissions",
        COWORK_PROJECT_DIRS="true",
        **SECRETS,
    ) as opened:
        opened.server.http.headers["Authorization"] = f"Bearer {KEY}"
        yield opened


def reachable(binary: str, folder: Path) -> str:
    """The CLI where the other user can get at it."""
    if unix_user.can_access(unix_user.lookup_cli_user(USER), Path(binary), os.R_OK | os.X_OK):
        return binary
    copy = folder / "claude"
    try:
        os.link(binary, copy)
    except OSError:
        shutil.copy2(binary, copy)
    return str(copy)


def run(stage: Stage, command: str) -> str:
    """What the model was shown of a command's run."""
    before = len(stage.model.requests)
    asked = f"[[tool Bash {json.dumps({'command': command})}]]"
    reply = stage.server.ask(asked, f"tool-{before}")
    assert reply.status_code == 200, reply.text
    return json.dumps([body["messages"] for body in stage.model.requests[before:]])


def test_t13_t18_a_tool_cannot_get_at_what_the_server_knows(stage: Stage) -> None:
    (worker,) = stage.server.workers()
    pids = (worker, stage.server.child.pid)
    looks = [f"cat /proc/{pid}/{what}" for pid in pids for what in ("environ", "mem", "maps")]
    looks += [f"ls -l /proc/{pid}/fd" for pid in pids]
    said = run(
        stage, "id -un; env; " + "; ".join(looks) + f"; cat {stage.folder}/secret; sudo -n id"
    )
    assert f"{USER}\\\\n" in said or f"{USER}\\n" in said
    assert "Permission denied" in said
    assert "canary" not in said.replace(f"cat {stage.folder}/secret", "")
    assert "ANTHROPIC_API_KEY=" in said  # the CLI's own: its tools can read it
    # Nor write where the server reads, or end it.
    said = run(stage, f"kill -9 {worker}; touch {stage.folder}/home/x; echo done")
    assert "done" in said
    assert stage.server.workers() == [worker]
    assert not (stage.folder / "home" / "x").exists()
    assert stage.server.log.read_text().count("bypassPermissions: the CLI may do anything") == 1
    # What it made is its own.
    for path in stage.workspace.rglob("*"):
        found = path.stat()
        assert found.st_uid == pwd.getpwnam(USER).pw_uid
        assert found.st_mode & 0o077 == 0


def test_t13_another_users_cli_is_ended_as_ours_is(
    stage: Stage, background: BackgroundCalls
) -> None:
    # Its reply is lost with the server.
    background(stage.server.ask, long_tool(300))
    wait_for(lambda: at_long_tool(stage, 300), what="the tool")
    (pid,) = stage.clis()
    assert Path(f"/proc/{pid}").stat().st_uid == pwd.getpwnam(USER).pw_uid
    # In the middle of a tool the end of its input does not end a CLI; the kernel must.
    (worker,) = stage.server.workers()
    for server in (stage.server.child.pid, worker):
        kill(server)
    wait_for(lambda: not stage.clis(), 5, "the end of the CLI")


def test_fault_s6_a_workspace_that_its_user_has_linked_to_roots_gets_nothing_made_in_it(
    stage: Stage,
) -> None:
    assert stage.server.ask("hello", "before").status_code == 200
    roots = stage.folder / "roots"
    roots.mkdir(mode=0o755)
    moved = stage.workspace.rename(stage.folder / "moved away")
    stage.workspace.symlink_to(roots)
    os.chown(stage.workspace, moved.stat().st_uid, -1, follow_symlinks=False)
    for project in ("one", "two"):
        problem(stage.server.ask("hello", project), 503, "claude_unavailable")
    assert list(roots.iterdir()) == []
    assert roots.stat().st_uid == 0


def test_fault_s10_another_users_cli_tells_which_skills_it_brings_along(stage: Stage) -> None:
    assert stage.server.ask("hi", agent_type="batch").status_code == 422
    logged = stage.server.log.read_text()
    assert "could not be started" not in logged
    assert "could not start the CLI" not in logged


def test_t13_a_user_without_rights_to_the_workspace_is_refused_at_start(
    gunicorn: Callable[..., Gunicorn], shared: Path
) -> None:
    closed = shared / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(AssertionError, match="nobody may not work in"):
        gunicorn(COWORK_CLAUDE_USER=USER, COWORK_WORKSPACE=str(closed))
