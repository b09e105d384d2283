"""Files on the real CLI: what a rewind restores, what it leaves as it is, and over what it lasts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.environment import Stage, kill, open_stage

pytestmark = pytest.mark.e2e

ON = {
    "COWORK_CHECKPOINTS": "true",
    "COWORK_PERMISSION_MODE": "acceptEdits",
    # Where a session may write besides its directory is the CLI's own folder's to say.
    "COWORK_TRUST_PROJECTS": "",
}
NOT_RESTORED = "What Bash or another program has changed is not restored."


@pytest.fixture(scope="module")
def shared(real_claude: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server for all tests that need none of their own."""
    with open_stage(tmp_path_factory.mktemp("on"), real_claude, **ON) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_apart(real_claude: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """And one with a directory for each project."""
    folder = tmp_path_factory.mktemp("apart")
    with open_stage(folder, real_claude, **ON, COWORK_PROJECT_DIRS="true") as opened:
        yield opened


@pytest.fixture
def stage(shared: Stage) -> Iterator[Stage]:
    yield shared
    tidy(shared)


@pytest.fixture
def apart(shared_apart: Stage) -> Iterator[Stage]:
    yield shared_apart
    tidy(shared_apart)


def tidy(stage: Stage) -> None:
    """Leave no session and no file to the next test."""
    for name in stage.server.get("/sessions").json()["sessions"]:
        stage.server.delete(f"/sessions/{name}")
    assert histories(stage) == set()
    for path in stage.workspace.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def tool(name: str, **arguments: object) -> str:
    return f"[[tool {name} {json.dumps(arguments)}]]"


def write(path: Path, text: str) -> str:
    """A directive that writes a file, which the CLI wants to be read before where it is there."""
    read = tool("Read", file_path=str(path)) if path.exists() else ""
    return read + tool("Write", file_path=str(path), content=text)


def ask(stage: Stage, question: str, project: str = "p") -> str:
    """Ask; the id of the turn."""
    reply = stage.server.ask(question, project)
    assert reply.status_code == 200, reply.text
    assert " failed: " not in reply.json()["message"], reply.text
    turn: str = reply.json()["turn_id"]
    return turn


def rewind(
    stage: Stage, turn: str, files: str, project: str = "p", key: str | None = None
) -> requests.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    path = f"/sessions/{project}/rewind"
    return stage.server.post(path, {"to_turn": turn, "files": files}, headers=headers)


def done(reply: requests.Response) -> dict[str, Any]:
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def seen(stage: Stage, project: str = "p") -> int:
    """How many questions the model is sent with the next one, that one too."""
    words = stage.server.ask("[[count]]", project).json()["message"].split()
    return int(words[2])


def histories(stage: Stage) -> set[str]:
    return {path.name for path in (stage.config / "file-history").glob("*")}


def test_files_are_previewed_and_restored_as_often_as_wanted(stage: Stage) -> None:
    old, new, gone = (stage.workspace / name for name in ("old.txt", "new.txt", "gone.txt"))
    old.write_text("one\ntwo\n")
    gone.write_text("mine\n")
    turns = [ask(stage, "[[say hi]]")]
    turns.append(ask(stage, write(new, "1\n") + write(old, "ONE\ntwo\n")))
    turns.append(ask(stage, write(new, "2\n")))
    old.unlink()  # as a program would, that is none of the CLI's edit tools
    gone.unlink()
    session = stage.server.get("/sessions/p").json()["session_id"]

    told = done(rewind(stage, turns[1], "preview"))
    assert told["session_id"] == session
    assert told["files"]["mode"] == "preview"
    assert told["files"]["can_restore"] is True
    assert told["files"]["reason"] is None
    assert told["files"]["skipped_links"] is None
    assert told["files"]["not_restored"] == NOT_RESTORED
    assert "new.txt" in told["files"]["changed"]
    assert told["files"]["count"] == len(told["files"]["changed"])
    assert new.read_text() == "2\n"
    assert not old.exists()
    assert len(stage.server.get("/sessions/p/messages").json()["messages"]) >= len(turns)

    told = done(rewind(stage, turns[1], "restore"))
    assert told["session_id"] != session
    assert (told["files"]["mode"], told["files"]["skipped_links"]) == ("restore", 0)
    assert told["files"]["unrestored"] == []
    assert new.read_text() == "1\n"
    assert old.read_text() == "ONE\ntwo\n"  # what an edit tool had left there
    assert not gone.exists()  # no edit tool has ever changed it
    assert seen(stage) == 3

    # Behind the end of a turn, in a session that is a copy: as often as it is wanted.
    later = ask(stage, write(new, "3\n"))
    told = done(rewind(stage, later, "restore"))
    assert (told["files"]["count"], new.read_text()) == (0, "3\n")
    told = done(rewind(stage, turns[0], "restore"))
    assert sorted(told["files"]["changed"]) == ["new.txt", "old.txt"]
    assert not new.exists()
    assert old.read_text() == "one\ntwo\n"
    assert seen(stage) == 2

    assert len(histories(stage)) > 1
    assert stage.server.delete("/sessions/p").json()["success"] is True
    assert histories(stage) == set()


def test_a_fork_restores_files_too_and_leaves_the_originals_checkpoints(stage: Stage) -> None:
    file = stage.workspace / "a.txt"
    first = ask(stage, write(file, "1\n"))
    second = ask(stage, write(file, "2\n"))
    made = stage.server.post("/sessions/p/fork", {"to": "q"})
    assert made.status_code == 201, made.text
    # Copied, and not the same: the original goes with its own.
    assert len(histories(stage)) == 2
    stage.server.delete("/sessions/p")
    assert histories(stage) == {made.json()["session_id"]}
    told = done(rewind(stage, first, "restore", "q"))["files"]
    assert (told["count"], told["skipped_links"]) == (1, 0)
    assert file.read_text() == "1\n"
    assert rewind(stage, second, "restore", "q").status_code == 422


def test_a_restore_works_after_a_restart_and_is_replayed_after_another(
    tmp_path: Path, real_claude: str
) -> None:
    settings = {**ON, "COWORK_STORE": f"sqlite://{tmp_path}/store/cowork.db"}
    settings["COWORK_STORE_KEY_FILE"] = f"{tmp_path}/store/key"
    folder = tmp_path / "stage"
    with open_stage(folder, real_claude, **settings) as stage:
        file = stage.workspace / "a.txt"
        first = ask(stage, write(file, "1\n"))
        ask(stage, write(file, "2\n"))
    with open_stage(folder, real_claude, **settings) as stage:
        told = done(rewind(stage, first, "restore", key="k"))
        assert file.read_text() == "1\n"
        kill(stage.cli(stage.server.ask("[[say on]]", "p").json()["session_id"]))
        ask(stage, write(file, "3\n"))
    with open_stage(folder, real_claude, **settings) as stage:
        again = rewind(stage, first, "restore", key="k")
        assert again.headers["Idempotent-Replayed"] == "true"
        assert done(again) == told
        assert file.read_text() == "3\n"  # it was done once
        other = rewind(stage, first, "preview", key="k")
        assert (other.status_code, other.json()["detail"]["code"]) == (422, "idempotency_mismatch")
        assert done(rewind(stage, first, "restore"))["files"]["count"] == 1
        assert file.read_text() == "1\n"


def test_turns_that_were_asked_without_checkpoints_cannot_be_undone(
    tmp_path: Path, real_claude: str
) -> None:
    settings = {**ON, "COWORK_STORE": f"sqlite://{tmp_path}/store/cowork.db"}
    settings["COWORK_STORE_KEY_FILE"] = f"{tmp_path}/store/key"
    folder = tmp_path / "stage"
    with open_stage(folder, real_claude, **{**settings, "COWORK_CHECKPOINTS": ""}) as stage:
        file = stage.workspace / "a.txt"
        first = ask(stage, write(file, "1\n"))
        ask(stage, write(file, "2\n"))
        refused = rewind(stage, first, "preview")
        assert refused.status_code == 422
        (fault,) = refused.json()["detail"]
        assert fault["loc"] == ["body", "files"]
        assert "COWORK_CHECKPOINTS" in fault["msg"]
    with open_stage(folder, real_claude, **settings) as stage:
        told = done(rewind(stage, first, "preview"))["files"]
        assert (told["can_restore"], told["count"]) == (False, 0)
        assert "COWORK_CHECKPOINTS" in told["reason"]
        refused = rewind(stage, first, "restore")
        assert refused.status_code == 409
        assert refused.json()["detail"]["code"] == "files_not_restored"
        assert (file.read_text(), seen(stage)) == ("2\n", 3)
        # Nor where all backups are gone; and nothing of the session is left that was to be.
        third = ask(stage, write(file, "3\n"))
        ask(stage, write(file, "4\n"))
        before = {path.name for path in stage.config.glob("projects/*/*.jsonl")}
        for path in (stage.config / "file-history").rglob("*@*"):
            path.unlink()
        refused = rewind(stage, third, "restore")
        assert refused.status_code == 409, refused.text
        assert refused.json()["detail"]["code"] == "files_not_restored"
        assert (file.read_text(), seen(stage)) == ("4\n", 6)
        assert {path.name for path in stage.config.glob("projects/*/*.jsonl")} == before


def test_a_file_whose_backup_is_gone_is_named(stage: Stage) -> None:
    kept, lost = (stage.workspace / name for name in ("kept.txt", "lost.txt"))
    kept.write_text("kept\n")
    lost.write_text("lost\n")
    first = ask(stage, "[[say hi]]")
    ask(stage, write(kept, "1\n") + write(lost, "1\n"))
    for backup in (stage.config / "file-history").rglob("*@*"):
        if backup.read_text() == "lost\n":
            backup.unlink()
    told = done(rewind(stage, first, "restore"))
    assert (told["files"]["count"], told["files"]["unrestored"]) == (2, ["lost.txt"])
    assert (kept.read_text(), lost.read_text()) == ("kept\n", "1\n")


def test_t26_a_restore_writes_through_no_link_and_takes_no_file_of_another_session(
    apart: Stage,
) -> None:
    stage = apart
    first = ask(stage, "[[say hi]]")
    folder = Path(stage.server.get("/sessions/p").json()["directory"])
    secret = stage.folder / "secret.txt"
    secret.write_text("theirs\n")
    (folder / "sub").mkdir()
    names = ("leaf.txt", "new.txt", "hard.txt", "sub/in.txt")
    for name in names:
        if name != "new.txt":
            (folder / name).write_text("before\n")
    ask(stage, "".join(write(folder / name, "after\n") for name in names))
    outside = stage.folder / "moved"
    (folder / "sub").rename(outside)
    (folder / "sub").symlink_to(outside)
    for name in ("leaf.txt", "new.txt", "hard.txt"):
        (folder / name).unlink()
    (folder / "leaf.txt").symlink_to(secret)
    (folder / "new.txt").symlink_to(secret)
    (folder / "hard.txt").hardlink_to(secret)
    told = done(rewind(stage, first, "restore"))
    assert told["files"]["skipped_links"] == 4
    assert sorted(told["files"]["unrestored"]) == sorted(names)
    assert secret.read_text() == "theirs\n"
    assert (outside / "in.txt").read_text() == "after\n"
    assert (folder / "new.txt").is_symlink()


def test_t26_a_fork_in_a_directory_of_its_own_restores_nothing_of_the_originals(
    apart: Stage,
) -> None:
    stage = apart
    first = ask(stage, "[[say hi]]")
    theirs = Path(stage.server.get("/sessions/p").json()["directory"]) / "a.txt"
    ask(stage, write(theirs, "1\n"))
    made = stage.server.post("/sessions/p/fork", {"to": "q"}).json()
    mine = Path(made["directory"]) / "a.txt"
    mine.write_text("mine\n")
    assert done(rewind(stage, first, "restore", "q"))["files"]["skipped_links"] == 1
    assert (theirs.read_text(), mine.read_text()) == ("1\n", "mine\n")


def test_t26_the_models_tools_cannot_write_what_a_rewind_restores(stage: Stage) -> None:
    file = stage.workspace / "a.txt"
    file.write_text("before\n")
    first = ask(stage, "[[say hi]]")
    ask(stage, write(file, "after\n"))
    backups = sorted((stage.config / "file-history").rglob("*@*"))
    assert backups
    for backup in backups:
        said = stage.server.ask(write(backup, "forged\n"), "p").json()["message"]
        assert "Write failed" in said
    done(rewind(stage, first, "restore"))
    assert file.read_text() == "before\n"
