"""A backup of a running server, restored elsewhere: its sessions on the real CLI go on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.background import BackgroundCalls
from tests.e2e.environment import open_stage
from tests.patience import PATIENCE_S
from tests.serving import ROOT

pytestmark = pytest.mark.e2e

SETTINGS = {
    "COWORK_CHECKPOINTS": "true",
    "COWORK_PERMISSION_MODE": "acceptEdits",
    "COWORK_PROJECT_DIRS": "true",
}


def settings(folder: Path) -> dict[str, str]:
    return {
        **SETTINGS,
        "COWORK_STORE": f"sqlite://{folder}/store/state.db",
        "COWORK_STORE_KEY_FILE": f"{folder}/store.key",
    }


def run(environ: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cowork", *words],
        env={**environ, "PYTHONPATH": str(ROOT)},
        cwd=Path(environ["COWORK_WORKSPACE"]).parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def write(path: Path, text: str) -> str:
    read = f"[[tool Read {json.dumps({'file_path': str(path)})}]]" if path.exists() else ""
    return f"{read}[[tool Write {json.dumps({'file_path': str(path), 'content': text})}]]"


def test_sessions_go_on_elsewhere_with_what_was_said_and_with_their_checkpoints(
    tmp_path: Path, real_claude: str, background: BackgroundCalls
) -> None:
    old, new, kept = tmp_path / "old place", tmp_path / "new-place", tmp_path / "backup"
    with open_stage(old, real_claude, **settings(old)) as stage:
        ask = stage.server.ask
        assert ask("[[say one]]", "p").status_code == 200
        (folder,) = stage.workspace.iterdir()
        changed = folder / "a.txt"
        second = ask(write(changed, "before"), "p").json()
        assert " failed: " not in second["message"]
        third = ask(write(changed, "after"), "p").json()
        assert changed.read_text() == "after"
        session = third["session_id"]
        under_way = background(ask, "[[words 400]] [[delay 20]] under way", "busy")
        stage.wait_words("[[words 400]] [[delay 20]] under way")
        made = run(stage.server.environ, "backup", str(kept))
        assert made.returncode == 0, made.stderr
        assert ask("[[say after the backup]]", "p").status_code == 200
        environ = stage.server.environ
        stage.server.post("/sessions/busy/interrupt")
        assert under_way.result().status_code == 409
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=kept, check=True)  # noqa: S607
    assert kept.stat().st_mode & 0o777 == 0o700

    new.mkdir()
    there = {
        **environ,
        **settings(new),
        "COWORK_WORKSPACE": f"{new}/workspace",
        "CLAUDE_CONFIG_DIR": f"{new}/config",
    }
    put = run(there, "restore", str(kept))
    assert put.returncode == 0, put.stderr
    again = run(there, "restore", str(kept))
    assert again.returncode == 1
    assert "--force" in again.stderr
    # What the old place had must be of no use.
    old.rename(tmp_path / "away")
    with open_stage(new, real_claude, **settings(new)) as stage:
        reply = stage.server.ask("[[count]] and now", "p").json()
        assert reply["session_id"] == session
        assert reply["message"].startswith("I see 4 questions"), reply["message"]
        assert "session_recovered" not in reply
        lost = stage.server.ask("[[count]] and you", "busy")
        assert lost.status_code == 200, lost.text
        assert "under way" in lost.json()["message"]
        body = {"to_turn": second["turn_id"], "files": "restore"}
        rewound = stage.server.post("/sessions/p/rewind", body)
        assert rewound.status_code == 200, rewound.text
        assert (stage.workspace / folder.name / "a.txt").read_text() == "before", rewound.text
        assert not (stage.folder.parent / "old place").exists()
