"""A session whose transcript, process or directory is gone: the next question works."""

from __future__ import annotations

import os
import select
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import Fakes
from tests.scraping import Scrape
from tests.serving import Served, wait_for
from tests.turns.raw_client import last_frame, question

RECOVERED = ("is_new_session", "session_recovered")


def kill_idle(served: Served, fakes: Fakes) -> None:
    """SIGKILL to the last process that was started; returns when it is dead."""
    wait_for(lambda: served.get("/health").json()["turns"] == 0, what="the end of the turn")
    pid = fakes.entries("start")[-1]["pid"]
    handle = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGKILL)
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        assert ended.poll(5000), "the process does not die"
    finally:
        os.close(handle)


def lose_transcripts(home: Path) -> None:
    for transcript in home.glob(".claude/projects/*/*.jsonl"):
        transcript.unlink()


@pytest.mark.parametrize("form", ["whole", "stream"])
def test_a_lost_transcript_starts_a_new_session_and_says_so(
    form: str, logged: Served, fakes: Fakes, home: Path
) -> None:
    old = logged.ask("one").json()["session_id"]
    lose_transcripts(home)
    kill_idle(logged, fakes)
    if form == "whole":
        said = logged.ask("[[count]] two").json()
        assert said["message"] == "I see 1 questions: two"
    else:
        said = last_frame(logged.streamed("[[count]] two"))
        assert said["success"] is True
    assert [said[name] for name in RECOVERED] == [True, True]
    assert said["session_id"] != old
    again = logged.ask("[[count]] three").json()
    assert again["message"] == "I see 2 questions: two | three"
    assert again["session_id"] == said["session_id"]
    assert "session_recovered" not in again
    assert again["is_new_session"] is False


def test_a_process_killed_while_idle_is_replaced_without_a_word(
    logged: Served, fakes: Fakes
) -> None:
    session = logged.ask("[[count]] q0").json()["session_id"]
    for number in range(1, 6):
        kill_idle(logged, fakes)
        said = logged.ask(f"[[count]] q{number}").json()
        assert said["message"].startswith(f"I see {number + 1} questions: q0 | ")
        assert said["session_id"] == session
        assert said["is_new_session"] is False
        assert "session_recovered" not in said


@pytest.mark.parametrize("store", ["memory", "file"])
def test_a_session_begun_anew_is_told_what_was_said_and_only_then(
    store: str, serve: Callable[..., Served], fakes: Fakes, home: Path, tmp_path: Path
) -> None:
    file = {"COWORK_STORE": f"sqlite://{tmp_path}/state.db"} if store == "file" else {}
    served = serve(**fakes.settings(), **file)
    served.ask("my name is Ada")
    served.ask("[[fail 500]] never said")
    lose_transcripts(home)
    kill_idle(served, fakes)
    said = served.ask("[[count]] who am I?").json()
    assert said["session_recovered"] is True
    told = fakes.asked[-1]
    assert told.startswith("<earlier_conversation>\n")
    assert told.endswith("</earlier_conversation>\n\n[[count]] who am I?")
    assert '{"question": "my name is Ada", "answer": "You said: my name is Ada"}' in told
    assert "never said" not in told
    served.ask("next")
    assert fakes.asked[-1] == "next"


def test_a_deleted_project_is_told_nothing_of_what_was_said(
    logged: Served, fakes: Fakes, home: Path
) -> None:
    logged.ask("a secret")
    logged.delete("/sessions/p")
    logged.ask("one")
    lose_transcripts(home)
    kill_idle(logged, fakes)
    logged.ask("two")
    assert "secret" not in fakes.asked[-1]
    assert '"question": "one"' in fakes.asked[-1]


@pytest.mark.parametrize("mishap", ["kill", "die", "partial", "close", "nonsense"])
@pytest.mark.parametrize("before", [0, 1])
def test_after_a_process_died_in_a_turn_the_next_question_works(
    mishap: str, before: int, logged: Served
) -> None:
    for number in range(before):
        logged.ask(f"q{number}")
    reply = logged.post("/ask_question", question(f"[[{mishap}]] [[words 9]]"))
    assert reply.status_code == 502, reply.text
    assert reply.json()["detail"]["code"] == "claude_failed"
    said = logged.ask("[[count]] last").json()
    assert said["message"].startswith(f"I see {before + 2} questions: ")
    assert said["message"].endswith(" | last")


def test_a_process_killed_before_it_kept_anything_leaves_a_usable_project(
    serve: Callable[..., Served], fakes: Fakes, home: Path
) -> None:
    served = serve(**fakes.settings())
    assert served.ask("[[kill]] [[words 9]]").status_code == 502
    lose_transcripts(home)
    said = served.ask("[[count]] two").json()
    assert said["message"] == "I see 1 questions: two"
    assert [said[name] for name in RECOVERED] == [True, True]


def test_a_session_id_that_is_in_use_is_given_up(
    serve: Callable[..., Served], fake_environ: dict[str, str], tmp_path: Path, fakes: Fakes
) -> None:
    wrapper = tmp_path / "claude-in-use"
    wrapper.write_text(f"""#!/bin/sh
case "$*" in *--session-id=*)
    if mkdir {tmp_path}/said-once 2>/dev/null; then
        echo "Error: Session ID 1 is already in use." >&2
        exit 1
    fi ;;
esac
exec {fake_environ["CLAUDE_CLI_PATH"]} "$@"
""")
    wrapper.chmod(0o755)
    served = serve(**fakes.settings(), CLAUDE_CLI_PATH=str(wrapper))
    said = served.ask("[[count]] one")
    assert said.status_code == 200, said.text
    assert said.json()["message"] == "I see 1 questions: one"
    assert said.json()["is_new_session"] is True
    assert served.ask("[[count]] two").json()["message"] == "I see 2 questions: one | two"
    assert Scrape(served).value("sessions_lost_total", why="in_use") == 1


@pytest.mark.parametrize("resident", [True, False])
def test_fault_t7_a_workspace_that_is_gone_is_named_and_its_sessions_wait_for_it(
    resident: bool, logged: Served, fakes: Fakes, fake_environ: dict[str, str]
) -> None:
    workspace = Path(fake_environ["COWORK_WORKSPACE"])
    logged.ask("one")
    if not resident:
        kill_idle(logged, fakes)
    away = workspace.with_name("away")
    workspace.rename(away)
    if not resident:
        workspace.with_name("elsewhere").mkdir()
    reply = logged.post("/ask_question", question("two"))
    assert reply.status_code == 503
    assert reply.json()["detail"]["code"] == "claude_unavailable"
    assert str(workspace) in reply.json()["detail"]["error"]
    assert not workspace.exists(), "a session that goes on makes no folder"
    assert logged.post("/sessions/p/warm", {}).status_code == 503
    away.rename(workspace)
    said = logged.ask("[[count]] three").json()
    assert said["message"] == "I see 2 questions: one | three"
    assert "session_recovered" not in said


def test_fault_t7_nobody_makes_a_workspace_that_is_gone(
    logged: Served, fake_environ: dict[str, str]
) -> None:
    """A new session would make an empty one, in which the others would go on."""
    workspace = Path(fake_environ["COWORK_WORKSPACE"])
    logged.ask("one")
    away = workspace.with_name("away")
    workspace.rename(away)
    for path, body in (
        ("/ask_question", question("first", "new")),
        ("/ask_question", question("first", "new", agent_type="review")),
        ("/sessions/new/warm", {}),
    ):
        reply = logged.post(path, body)
        assert reply.status_code == 503, path
        assert str(workspace) in reply.json()["detail"]["error"]
    assert not workspace.exists()
    ready = logged.get("/health/ready")
    assert ready.status_code == 503
    assert f"workspace unavailable: {workspace}" in ready.json()["reasons"]
    away.rename(workspace)
    assert not any("workspace" in each for each in logged.get("/health/ready").json()["reasons"])
    assert logged.ask("[[count]] two").json()["message"] == "I see 2 questions: one | two"
    assert logged.ask("[[count]] first", "new").json()["message"] == "I see 1 questions: first"


def test_fault_t7_a_process_whose_directory_was_replaced_is_replaced(
    logged: Served, fakes: Fakes, fake_environ: dict[str, str]
) -> None:
    workspace = Path(fake_environ["COWORK_WORKSPACE"])
    logged.ask("one")
    workspace.rename(workspace.with_name("away"))
    workspace.mkdir()
    assert logged.ask("[[count]] two").json()["message"] == "I see 2 questions: one | two"
    pids = [entry["pid"] for entry in fakes.entries("start")]
    assert len(pids) == 2
    assert Path(f"/proc/{pids[-1]}/cwd").samefile(workspace)


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("warmed", [False, True])
def test_fault_t7_a_session_whose_directory_is_gone_begins_anew_with_what_was_said(
    resident: bool,
    warmed: bool,
    serve: Callable[..., Served],
    fakes: Fakes,
    fake_environ: dict[str, str],
) -> None:
    served = serve(**fakes.settings(), COWORK_PROJECT_DIRS="true")
    old = served.ask("my name is Ada").json()["session_id"]
    if not resident:
        kill_idle(served, fakes)
    (directory,) = Path(fake_environ["COWORK_WORKSPACE"]).iterdir()
    shutil.rmtree(directory)
    if warmed:
        assert served.post("/sessions/p/warm", {}).status_code == 204
        assert not directory.exists()
    said = served.ask("[[count]] who am I?").json()
    assert said["message"] == "I see 1 questions: who am I?"
    assert [said[name] for name in RECOVERED] == [True, True]
    assert said["session_id"] != old
    assert '"question": "my name is Ada"' in fakes.asked[-1]
    assert directory.is_dir()
    assert "session_recovered" not in served.ask("[[count]] again").json()


def test_a_workspace_that_moved_costs_the_context_and_nothing_else(
    logged: Served, fakes: Fakes, home: Path
) -> None:
    logged.ask("one")
    kill_idle(logged, fakes)
    # To the CLI a session of another directory is one that it does not know.
    (folder,) = (home / ".claude" / "projects").iterdir()
    folder.rename(folder.with_name("-somewhere-else"))
    said = logged.ask("[[count]] two").json()
    assert said["message"] == "I see 1 questions: two"
    assert [said[name] for name in RECOVERED] == [True, True]


@pytest.mark.parametrize("resident", [True, False])
def test_fault_t3_a_session_that_the_model_refuses_is_begun_anew_with_what_was_said(
    resident: bool, logged: Served, fakes: Fakes
) -> None:
    logged.ask("my name is Ada")
    old = logged.ask("[[poison]] look at this").json()["session_id"]
    if not resident:
        kill_idle(logged, fakes)
    said = logged.ask("[[count]] who am I?").json()
    assert said["message"] == "I see 1 questions: who am I?"
    assert [said[name] for name in RECOVERED] == [True, True]
    assert said["session_id"] != old
    assert '"question": "my name is Ada"' in fakes.asked[-1]
    again = logged.ask("[[count]] three").json()
    assert again["message"] == "I see 2 questions: who am I? | three"
    assert "session_recovered" not in again


def test_fault_t3_the_first_frame_of_a_recovered_stream_is_its_answers(logged: Served) -> None:
    logged.ask("[[poison]] one")
    frames = [frame.data for frame in logged.streamed("[[words 2]]")]
    assert [frame.get("token") for frame in frames] == ["w1 ", "w2", None]
    assert frames[-1]["success"] is True
    assert frames[-1]["session_recovered"] is True


def test_fault_t3_a_question_that_is_refused_anywhere_names_the_cure_and_costs_no_session(
    logged: Served, fakes: Fakes
) -> None:
    old = logged.ask("one").json()["session_id"]
    reply = logged.post("/ask_question", question("[[fail 400]] two"))
    assert reply.status_code == 502
    detail = reply.json()["detail"]
    assert detail["code"] == "session_unusable"
    assert detail["api_status"] == 400
    assert "DELETE /sessions/" in detail["error"]
    assert [told.partition("[[")[2] for told in fakes.asked[1:]] == ["fail 400]] two"] * 2
    said = logged.ask("[[count]] three").json()
    assert said["session_id"] == old
    assert said["message"].startswith("I see 3 questions: one | ")


@pytest.mark.parametrize("failure", ["400", "429", "500", "529", "401"])
def test_fault_t3_a_first_question_or_another_failure_is_asked_once(
    failure: str, logged: Served, fakes: Fakes
) -> None:
    if failure != "400":
        logged.ask("one")
    before = len(fakes.asked)
    reply = logged.post("/ask_question", question(f"[[fail {failure}]]"))
    assert reply.json()["detail"]["code"] != "session_unusable"
    assert len(fakes.asked) == before + 1


def transcript_of(home: Path, session: str) -> Path:
    (found,) = home.glob(f".claude/projects/*/{session}.jsonl")
    return found


@pytest.mark.parametrize("store", ["memory", "file"])
def test_fault_t9_what_was_not_written_down_is_told_to_the_next_process(
    store: str, serve: Callable[..., Served], fakes: Fakes, home: Path, tmp_path: Path
) -> None:
    file = {"COWORK_STORE": f"sqlite://{tmp_path}/state.db"} if store == "file" else {}
    served = serve(**fakes.settings(), **file)
    session = served.ask("one").json()["session_id"]
    transcript = transcript_of(home, session)
    kept = transcript.rename(transcript.with_suffix(".kept"))
    transcript.symlink_to("/dev/full")
    said = served.ask("my name is Ada").json()
    assert said["message"] == "You said: my name is Ada"
    assert "session_recovered" not in said
    transcript.unlink()
    kept.rename(transcript)
    # The process that heard it knows it still.
    assert "session_recovered" not in served.ask("[[say yes]] still there?").json()
    assert "<earlier_conversation>" not in fakes.asked[-1]
    kill_idle(served, fakes)
    said = served.ask("[[count]] who am I?").json()
    assert said["session_id"] == session
    assert said["session_recovered"] is True
    assert said["is_new_session"] is False
    assert '"question": "my name is Ada"' in fakes.asked[-1]
    kill_idle(served, fakes)
    assert "session_recovered" not in served.ask("again").json()
    assert "<earlier_conversation>" not in fakes.asked[-1]


def test_a_cli_that_keeps_its_transcripts_elsewhere_is_believed(
    logged: Served, fakes: Fakes, home: Path
) -> None:
    logged.ask("one")
    (home / ".claude").rename(home / "elsewhere")
    (home / ".claude").symlink_to("/nowhere")
    logged.ask("two")
    (home / ".claude").unlink()
    (home / "elsewhere").rename(home / ".claude")
    kill_idle(logged, fakes)
    assert "session_recovered" not in logged.ask("three").json()


def test_fault_t9_readiness_names_a_disk_that_is_full(
    logged: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cowork.claude.disk_space.MAX_AGE_S", -1.0)
    wait_for(lambda: logged.get("/health/ready").status_code == 200, what="readiness")
    monkeypatch.setattr("cowork.claude.disk_space.MIN_FREE_BYTES", 2**62)
    reasons = logged.get("/health").json()["reasons"]
    assert "the disk of Claude's folder is full" in reasons
    assert "the disk of the workspace is full" in reasons


def test_a_session_knows_those_that_were_given_up_for_it_and_a_deletion_takes_all_of_them(
    logged: Served, fakes: Fakes, home: Path
) -> None:
    ids = []
    for number in range(3):
        ids.append(logged.ask(f"q{number}").json()["session_id"])
        lose_transcripts(home)
        kill_idle(logged, fakes)
    last = logged.ask("last").json()["session_id"]
    (kept,) = logged.services.store.sessions("")
    assert len({*ids, last}) == 4
    assert kept.ids == (*ids, last)
    folder = next((home / ".claude" / "projects").iterdir())
    for each in ids:
        (folder / f"{each}.jsonl").write_text("as if it had been found again")
    logged.delete("/sessions/p")
    wait_for(lambda: not list(folder.iterdir()), what="the end of their files")
