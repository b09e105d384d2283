"""Each command in a pipe and on a terminal, against a server that is like `make demo`'s."""

from __future__ import annotations

import base64
import json
import subprocess
import sys

import pytest

from tests.clients.proxy import cutting
from tests.e2e.approving import bash, write
from tests.e2e.environment import Stage
from tests.patience import PATIENCE_S
from tests.serving import ROOT, free_port
from tests.terminal.shell import KEY, Shell

pytestmark = pytest.mark.e2e
# One pixel, red.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
WORDS = 120
ANSWER = " ".join(f"word{number}" for number in range(1, WORDS + 1))


def test_in_a_pipe_standard_output_is_the_answer_and_nothing_else(shell: Shell) -> None:
    done = shell.pipe("ask", "[[words 3]]", "-p", "talk")
    assert (done.stdout, done.stderr, done.returncode) == ("word1 word2 word3\n", "", 0)


def test_for_programs_an_answer_is_an_object_and_a_stream_a_line_a_frame(shell: Shell) -> None:
    whole = shell.json("ask", "[[words 3]]", "-p", "talk")
    assert (whole["text"], whole["project_id"], whole["success"]) == (
        "word1 word2 word3",
        "talk",
        True,
    )
    assert whole["turn_id"]
    done = shell.pipe("ask", "[[words 3]]", "-p", "talk", "--json", "--stream")
    frames = [json.loads(line) for line in done.stdout.splitlines()]
    assert next(frame["token"] for frame in frames if frame["type"] == "token") == "word1 "
    assert frames[-1]["done"] is True


def test_standard_input_is_the_question_or_goes_along_with_it(shell: Shell, stage: Stage) -> None:
    assert shell.pipe("ask", "-p", "talk", given=b"[[say piped]]\n").stdout == "piped\n"
    (shell.folder / "dot.png").write_bytes(PNG)
    words = ("[[say both]]", "-p", "talk", "--attach", "dot.png", "--effort", "low")
    done = shell.pipe("ask", *words, given=b"a log of something\n")
    assert (done.stdout, done.returncode) == ("both\n", 0), done.stderr
    (asked,) = [each for each in stage.model.exchanges if "[[say both]]" in each.question]
    sent = json.dumps(asked.body["messages"])
    assert base64.b64encode(PNG).decode() in sent
    assert "a log of something" in sent


def test_exit_statuses_tell_what_went_wrong_and_nothing_shows_the_key(shell: Shell) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    wrong = KEY.replace("the", "not")
    cases = [
        (1, "claude_api_error", ["ask", "[[status 400]]", "-p", "fails", "-q"]),
        (1, "invalid_request", ["ask", "hi", "-p", "x" * 201]),
        (2, "No such option", ["ask", "--nonsense"]),
        (2, "must be http", ["health", "--url", "localhost:5002"]),
        (2, "characters that no key has", ["health", "--key", f"{wrong}\n{wrong}"]),
        (2, "nothing is asked", ["ask"]),
        (3, "Connection refused", ["ask", "hi", "--url", nobody]),
        (4, "unauthorized", ["sessions", "--key", wrong]),
        (6, "session_not_found", ["messages", "nobody's"]),
        (6, "approval_not_found", ["approvals", "deny", "nobody's"]),
    ]
    for status, said, words in cases:
        done = shell.pipe(*words)
        assert (done.returncode, said in done.stderr, done.stdout) == (status, True, ""), done
        assert wrong not in done.stderr
    told = shell.pipe("messages", "nobody's", "--json")
    assert json.loads(told.stdout)["error"]["code"] == "session_not_found"
    assert told.returncode == 6


def test_what_is_listed_is_lines_for_people_and_objects_for_programs(
    shell: Shell, stage: Stage
) -> None:
    shell.pipe("ask", "[[say first]]", "-p", "listed")
    forked = shell.json("fork", "listed", "listed-2")
    assert forked["project_id"] == "listed-2"
    sessions = shell.json("sessions")
    assert {"listed", "listed-2"} <= {each["project_id"] for each in sessions["sessions"]}
    assert any(line.startswith("listed-2  ") for line in shell.pipe("sessions").stdout.splitlines())
    said = shell.json("messages", "listed-2")["messages"]
    assert [part["text"] for each in said for part in each["parts"]] == ["[[say first]]", "first"]
    lines = shell.pipe("messages", "listed").stdout.splitlines()
    assert lines[0].startswith("You")
    assert lines[1] == "[[say first]]"
    assert "first" in lines
    assert shell.json("approvals") == {"approvals": [], "count": 0}
    assert "listed" in {each["project"] for each in shell.json("top")["processes"]}
    asked = {"messages": [{"role": "user", "content": "[[say hi]]"}]}
    reply = stage.server.post("/v1/chat/completions", asked, headers={"X-API-Key": KEY})
    assert reply.status_code == 200, reply.text
    shown = shell.pipe("top").stdout
    assert "at most" in shown
    assert "(without a name)" in shown
    assert shell.json("health")["ready"] is True
    assert "✓  questions  are answered" in shell.pipe("health").stdout
    assert shell.pipe("interrupt", "listed").stderr == "Nothing runs for listed\n"


def test_a_reader_that_leaves_ends_it_quietly(shell: Shell) -> None:
    asked = shell.begin("ask", "[[delay 5]] [[words 5000]]", "-p", "left", "--stream")
    assert asked.stdout is not None
    assert asked.stderr is not None
    assert asked.stdout.read(5) == "word1"
    asked.stdout.close()
    assert asked.stderr.read() == ""
    assert asked.wait(30) == 141
    shell.pipe("interrupt", "left")


def test_a_network_that_cuts_it_loses_no_word_and_asks_once(shell: Shell, stage: Stage) -> None:
    with cutting(stage.server.port, 1500, 2500, 10) as cut:
        question = f"[[delay 5]] [[words {WORDS}]]"
        done = shell.pipe("ask", question, "-p", "cut", COWORK_URL=cut.url)
    assert (done.stdout, done.returncode) == (f"{ANSWER}\n", 0)
    assert cut.streams >= 4
    assert len([each for each in stage.model.exchanges if each.question == question]) == 1


def test_a_tool_waits_for_an_answer_from_another_shell(shell: Shell, stage: Stage) -> None:
    file = stage.workspace / "allowed.txt"
    asked = shell.begin("ask", write(file), "-p", "waits", "--approvals")
    assert asked.stderr is not None
    line = asked.stderr.readline()
    assert line.startswith("waits for somebody: xo-cowork approvals allow ")
    shown = shell.pipe("approvals", "-p", "waits").stdout
    assert str(file) in shown
    assert not file.exists()
    allowed = shell.pipe(*line.split()[4:])
    assert allowed.stderr == "allow: Write\n"
    out, _ = asked.communicate(timeout=30)
    assert (asked.returncode, file.exists()) == (0, True)
    assert "File created" in out
    assert shell.json("approvals", "--resolved")["approvals"][0]["decided_by"] == "me"


def test_an_interrupt_from_another_shell_ends_the_answer(shell: Shell, stage: Stage) -> None:
    question = "[[delay 20]] [[words 2000]]"
    asked = shell.begin("ask", question, "-p", "ended")
    stage.wait_words(question)
    assert shell.json("interrupt", "ended")["success"] is True
    out, err = asked.communicate(timeout=30)
    assert (out, asked.returncode) == ("", 130)
    assert "turn_interrupted" in err


def test_ctrl_c_interrupts_the_turn_on_the_server_and_a_second_one_leaves(
    shell: Shell, stage: Stage
) -> None:
    question = "[[delay 20]] [[words 3000]]"
    asked = shell.terminal("ask", question, "-p", "stopped")
    asked.wait("word20 ")
    asked.type("\x03")
    asked.wait("interrupting ...")
    assert asked.end() == 130
    turns = stage.server.http.get(
        f"{stage.server.url}/sessions/stopped/turns", headers={"X-API-Key": KEY}, timeout=30
    ).json()["turns"]
    assert [turn["state"] for turn in turns] == ["interrupted"]


def test_on_a_terminal_an_answer_comes_with_its_tools_and_what_it_took(
    shell: Shell, stage: Stage
) -> None:
    file = stage.workspace / "typed.txt"
    asked = shell.terminal("ask", write(file, "one\ntwo"), "-p", "typed")
    assert "+ two" in asked.wait("[y]es  [n]o  [s]ession  [e]dit: ")
    asked.type("y\n")
    said = asked.wait("$")
    assert "File created" in said
    assert asked.end() == 0
    assert "• Write  " in asked.text
    assert "changed typed.txt" in asked.text
    assert file.read_text() == "one\ntwo"


def test_a_chat_shows_answers_asks_and_is_interrupted(shell: Shell) -> None:
    chat = shell.terminal("chat", "-p", "chat")
    chat.wait("> ")
    chat.type("[[say **strong** and `code`]]\n")
    said = chat.wait("$")
    assert "strong and code" in said
    assert "**" not in said.partition("]]")[2]
    chat.wait("> ")
    chat.type(f"{bash('rm -rf build')}\n")
    asked = chat.wait("[e]dit: ")
    assert "Claude wants to run a command" in asked
    chat.type("n\n")
    chat.wait("(may stay empty) ")
    chat.type("leave it\n")
    assert "leave it" in chat.wait("$")
    chat.wait("> ")
    chat.type("ask me a question\n")
    assert "2 Green" in chat.wait("Number, or your words: ")
    chat.type("2\n")
    assert '"Green"' in chat.wait("$")
    chat.wait("> ")
    chat.type("[[delay 20]] [[words 3000]]\n")
    chat.wait("word30 ")
    chat.type("\x03")
    chat.wait("interrupted")
    chat.wait("> ")
    chat.type("[[say still here]]\n")
    assert "still here" in chat.wait("$")
    chat.wait("> ")
    chat.type("\x04")
    assert chat.end() == 0


def test_a_chat_in_a_pipe_answers_line_by_line_and_ends_at_a_failure(shell: Shell) -> None:
    given = b"[[say one]]\n\n[[say two]]\n[[status 400]]\n[[say never]]\n"
    done = shell.pipe("chat", "-p", "lines", given=given)
    assert (done.stdout, done.returncode) == ("one\ntwo\n", 1)
    assert "(session_unusable)" in done.stderr


def test_on_a_narrow_terminal_no_line_is_broken(shell: Shell) -> None:
    shell.pipe(
        "ask", "[[say hello]]", "-p", "a project whose name is longer than any narrow terminal"
    )
    for words in (
        ["sessions"],
        ["messages", "a project whose name is longer than any narrow terminal"],
    ):
        shown = shell.terminal(*words, columns=40)
        assert shown.end() == 0
        assert max(map(len, shown.text.splitlines())) <= 40, shown.text


def test_top_is_live_until_ctrl_c(shell: Shell) -> None:
    shell.pipe("ask", "[[say hello]]", "-p", "watched")
    top = shell.terminal("top", "--interval", "0.5")
    top.wait("watched")
    top.wait("watched")
    top.type("\x03")
    assert top.end() == 0


def test_a_shell_completes_commands_and_options(shell: Shell) -> None:
    def completed(line: str) -> list[str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - (line[-1] != " "))}
        done = shell.pipe("", _XO_COWORK_COMPLETE="bash_complete", **words)
        return [each.partition(",")[2] for each in done.stdout.splitlines()]

    assert completed("xo-cowork s") == ["serve", "sessions"]
    assert completed("xo-cowork approvals ") == ["allow", "answer", "deny"]
    assert "--no-stream" in completed("xo-cowork ask --no-")


def test_the_example_of_the_documents_runs(shell: Shell) -> None:
    example = (ROOT / "examples" / "ask.py").read_text()
    assert example.partition("\n\n")[2] in (ROOT / "docs" / "cli.md").read_text()
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "ask.py", bash("echo made")],
        check=False,
        capture_output=True,
        text=True,
        env=shell.environ,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (0, "\n[Bash]\n")
    assert "Bash answered: made" in done.stdout


def test_the_server_starts_without_the_terminals_libraries() -> None:
    looked = "import sys, cowork.__main__; print([n for n in ('click', 'rich', 'httpx') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", looked], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
