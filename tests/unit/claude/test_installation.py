"""The CLI is found, asked for its version and login beside everything else, and not too often."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cowork.claude import orphans
from cowork.claude.command import LaunchConfig
from cowork.claude.executable import bundled
from cowork.claude.installation import ClaudeCli
from cowork.errors import ClaudeUnavailable
from tests.fake_claude import configure
from tests.patience import PATIENCE_S
from tests.serving import wait_for

NewCli = Callable[..., ClaudeCli]


@pytest.fixture
def new_cli(fake_environ: dict[str, str], tmp_path: Path) -> Iterator[NewCli]:
    """The fake CLI; keywords are keys of its config, `path` where it is said to be."""
    begun: list[ClaudeCli] = []

    def make(path: str | None = None, environ: dict[str, str] | None = None, **config) -> ClaudeCli:
        told = configure(tmp_path / "config.json", **config)
        full = {**fake_environ, **told, **(environ or {})}
        launch_config = LaunchConfig(passed=("FAKE_CLAUDE_CONFIG",))
        begun.append(
            ClaudeCli(path or full["CLAUDE_CLI_PATH"], environ=full, launch_config=launch_config)
        )
        return begun[-1]

    yield make
    for cli in begun:
        wait_for(lambda cli=cli: not orphans.sweep_own() and cli._checking is None, what="the end")


def program(
    folder: Path, name: str = "claude", text: str = "#!/bin/sh\n", mode: int = 0o755
) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


# -- where it is


def test_a_path_that_was_set_is_taken(new_cli, tmp_path):
    path = program(tmp_path / "x", "my claude")
    assert new_cli(str(path)).path() == str(path)


def test_a_name_is_looked_for_on_the_path_that_was_given(new_cli, tmp_path, monkeypatch):
    first, second = program(tmp_path / "a"), program(tmp_path / "b")
    monkeypatch.setenv("PATH", str(second.parent))
    environ = {"PATH": f"{tmp_path / 'nothing'}{os.pathsep}{first.parent}"}
    assert new_cli("claude", environ).path() == str(first)


def test_a_path_in_the_home_is_found(new_cli, tmp_path, monkeypatch):
    path = program(tmp_path / "home")
    monkeypatch.setenv("HOME", str(path.parent))
    assert new_cli("~/claude").path() == str(path)


def test_a_relative_path_is_made_absolute(new_cli, tmp_path, monkeypatch):
    path = program(tmp_path / "x")
    monkeypatch.chdir(tmp_path)
    assert new_cli("./x/claude").path() == str(path)


def test_what_is_on_the_path_goes_before_what_the_wheel_brings(new_cli, tmp_path):
    path = program(tmp_path / "x")
    assert new_cli("claude", {"PATH": str(path.parent)}).path() == str(path)


def test_without_one_on_the_path_the_wheels_is_taken(new_cli):
    cli = new_cli("claude", {"PATH": "/nonexistent"})
    if bundled() is None:
        with pytest.raises(ClaudeUnavailable):
            cli.path()
    else:
        assert cli.path() == bundled()


def unusable(kind: str, folder: Path) -> str:
    if kind == "directory":
        (folder / "claude").mkdir()
    elif kind == "not executable":
        program(folder, mode=0o644)
    return str(folder / "claude")


@pytest.mark.parametrize("kind", ["missing", "directory", "not executable"])
def test_what_cannot_be_executed_is_not_replaced_by_another(new_cli, tmp_path, kind):
    with pytest.raises(ClaudeUnavailable, match="CLAUDE_CLI_PATH"):
        new_cli(unusable(kind, tmp_path)).path()


def test_a_cli_that_appears_later_is_found_then(new_cli, tmp_path):
    cli = new_cli(str(tmp_path / "late" / "claude"))
    with pytest.raises(ClaudeUnavailable):
        cli.path()
    program(tmp_path / "late")
    assert cli.path()


# -- what is known of it


def test_a_check_tells_path_version_and_login(new_cli, fake_environ):
    state = new_cli(version="2.1.99").check()
    assert state.path == fake_environ["CLAUDE_CLI_PATH"]
    assert state.version == "2.1.99"
    assert (state.logged_in, state.auth_method, state.problem) == (True, "claude.ai", None)


@pytest.mark.parametrize(
    ("said", "version"),
    [("2.1.330 (Claude Code)", "2.1.330"), ("3.0", "3.0"), ("9.9.9-beta x y", "9.9.9-beta")],
)
def test_the_version_is_the_first_word(new_cli, said, version):
    assert new_cli(version=said).check().version == version


def test_a_cli_without_a_login_is_a_problem_that_says_what_to_do(new_cli):
    state = new_cli(auth={"loggedIn": False, "authMethod": "none"}).check()
    assert (state.logged_in, state.auth_method) == (False, "none")
    assert "/login" in state.problem


@pytest.mark.parametrize("logged_in", ["yes", 1, None, "true"])
def test_a_login_is_one_only_where_the_cli_says_exactly_so(new_cli, logged_in):
    assert new_cli(auth={"loggedIn": logged_in}).check().logged_in is False


@pytest.mark.parametrize("method", [None, 5, {"a": 1}])
def test_a_method_that_is_no_word_is_none(new_cli, method):
    assert new_cli(auth={"authMethod": method}).check().auth_method is None


SAYS = [
    ("nothing", ""),
    ("no JSON", "echo hello"),
    ("no object", "echo '[1]'"),
    ("no UTF-8", "printf '\\377\\376'"),
    ("an exit", "exit 7"),
    ("words on stderr", "echo secret-canary >&2; exit 1"),
]


@pytest.mark.parametrize(("kind", "script"), SAYS, ids=[kind for kind, _ in SAYS])
def test_a_cli_that_speaks_nonsense_is_a_problem(new_cli, tmp_path, kind, script):
    path = program(tmp_path / "x", text=f"#!/bin/sh\n{script}\n")
    state = new_cli(str(path)).check()
    assert state.problem, kind
    assert "canary" not in state.problem
    assert not state.logged_in


def test_a_cli_that_is_missing_is_a_problem_that_says_what_to_do(new_cli):
    state = new_cli("/nonexistent/claude").check()
    assert "CLAUDE_CLI_PATH" in state.problem
    assert state.path is None


def test_a_file_that_is_no_program_is_a_problem(new_cli, tmp_path):
    path = program(tmp_path / "x", text="\0\0\0")
    assert new_cli(str(path)).check().problem


def test_the_cli_is_asked_with_the_environment_that_its_turns_get(new_cli, tmp_path):
    seen = tmp_path / "seen"
    path = program(tmp_path / "x", text=f"#!/bin/sh\n/usr/bin/env > {seen}\n")
    new_cli(str(path), {"CHAT_API_TOKEN": "canary", "ANTHROPIC_BASE_URL": "http://x"}).check()
    assert "canary" not in seen.read_text()
    assert "ANTHROPIC_BASE_URL=http://x" in seen.read_text()


# -- without making anyone wait


def test_the_state_is_told_at_once_and_found_out_beside(new_cli):
    cli = new_cli(probe="slow:1500")
    begun = time.monotonic()
    first = cli.state()
    assert time.monotonic() - begun < 1.2
    assert (first.path, first.version, first.logged_in, first.problem) == (None,) * 4
    wait_for(lambda: cli.state().version is not None, what="the check")
    assert cli.state().logged_in is True


def test_many_who_ask_start_one_check(new_cli, tmp_path):
    log = tmp_path / "asked"
    path = program(tmp_path / "x", text=f'#!/bin/sh\necho "$*" >> {log}\nsleep 0.1; echo 1.0\n')
    cli = new_cli(str(path))
    threads = [threading.Thread(target=cli.state) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: cli.state().problem is not None, what="the check")
    for _ in range(10):
        cli.state()
    cli.close()
    assert log.read_text().split("\n") == ["--version", "auth status", ""]


def test_a_turn_knows_better_than_the_cli(new_cli):
    cli = new_cli()
    cli.check()
    cli.saw_login(works=False)
    refused = cli.state()
    assert refused.logged_in is False
    assert "/login" in refused.problem
    assert refused.version is not None
    cli.saw_login(works=True)
    assert (cli.state().logged_in, cli.state().problem) == (True, None)


def test_a_turn_that_says_nothing_new_changes_nothing(new_cli):
    cli = new_cli()
    state = cli.check()
    cli.saw_login(works=True)
    assert cli.state() is state


def test_closing_leaves_no_check_of_a_cli_that_hangs_behind(new_cli):
    cli = new_cli(probe="hang")
    cli.state()
    wait_for(lambda: orphans.find_started_by(os.getpid()), what="the check's process")
    cli.close(0.2)
    wait_for(lambda: not orphans.find_started_by(os.getpid()), what="the end of the check")


def test_a_wheel_that_is_not_installed_brings_nothing(monkeypatch):
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(__import__("sys").modules, "claude_agent_sdk", raising=False)
    assert bundled() is None


# -- behind a wrapper that prints something of its own

NODE = "Now using node v20.11.1 (npm v10.2.4)"


@pytest.mark.parametrize(
    ("said", "version"),
    [
        (f"{NODE}\n2.1.330 (Claude Code)", "2.1.330"),
        (f"{NODE} 2.1.330 (Claude Code)", "2.1.330"),
        ("20.11.1\n2.1.330 (Claude Code)\nbye", "2.1.330"),
        (f"{NODE}\n  3.0", "3.0"),
        (NODE, None),
        ("v20", None),
    ],
)
def test_fault_t12_the_version_is_found_in_any_line(new_cli, said, version):
    assert new_cli(version=said).check().version == version


LOGINS = [
    (f'{NODE}\\n{{"loggedIn": true, "authMethod": "x"}}\\nbye', (True, "x")),
    (f'{NODE}\\n{{"a": 1}}\\n {{\\n  "loggedIn": false\\n}}', (False, None)),
    ('{ broken\\n{"loggedIn": true}', (True, None)),
    (f'{NODE} {{"loggedIn": true}}', (None, None)),
    ("{" * 5000, (None, None)),
]


@pytest.mark.parametrize(("said", "login"), LOGINS)
def test_fault_t12_the_login_is_found_after_what_a_wrapper_prints(new_cli, tmp_path, said, login):
    path = program(tmp_path / "x", text=f"#!/bin/sh\nprintf '{said}'\n")
    state = new_cli(str(path)).check()
    assert (state.logged_in, state.auth_method) == login


def test_fault_t12_a_login_that_the_cli_does_not_tell_is_what_a_turn_has_shown(new_cli, tmp_path):
    path = program(tmp_path / "x", text="#!/bin/sh\necho 2.1.330\n")
    cli = new_cli(str(path))
    first = cli.check()
    assert first.logged_in is None
    assert "did not say" in first.problem
    cli.saw_login(works=True)
    for _ in range(2):
        assert (cli.state().logged_in, cli.state().problem) == (True, None)
        cli.check()
    cli.saw_login(works=False)
    assert "/login" in cli.state().problem
    # Only a turn can tell, and none would come to a server that is not ready.
    assert (cli.check().logged_in, cli.state().problem) == (None, None)


# -- replaced, half there, gone


def test_fault_t12_a_cli_that_is_gone_is_a_problem_as_soon_as_anyone_asks(new_cli, tmp_path):
    path = program(tmp_path / "x", text="#!/bin/sh\necho 1.0; echo '{\"loggedIn\": true}'\n")
    cli = new_cli(str(path))
    cli.check()
    assert cli.state().problem is None
    path.rename(tmp_path / "away")
    assert "CLAUDE_CLI_PATH" in cli.state().problem
    (tmp_path / "away").rename(path)
    wait_for(lambda: cli.state().problem is None, what="the check")


def speaking(version: str) -> str:
    return f"#!/bin/sh\necho {version}; echo '{{\"loggedIn\": true}}'\n"


def test_fault_t12_an_executable_that_was_replaced_behind_its_links_is_noticed(new_cli, tmp_path):
    """As npm and the native installer do it: a link, or what it leads to, is another."""
    first, second = tmp_path / "1", tmp_path / "2"
    for folder, version in ((first, "1.0"), (second, "2.0")):
        program(folder, text=speaking(version))
    current, name = tmp_path / "current", tmp_path / "claude"
    current.symlink_to(first)
    name.symlink_to(current / "claude")
    cli = new_cli(str(name))
    assert [cli.generation(), cli.generation(), cli.check().version] == [0, 0, "1.0"]
    current.unlink()
    current.symlink_to(second)
    assert [cli.generation(), cli.generation()] == [1, 1]
    wait_for(lambda: cli.state().version == "2.0", what="the check")
    program(second, text=speaking("3.0"))  # in its place, and of the same size
    os.utime(second / "claude", ns=(1, 1))
    assert cli.generation() == 2


@pytest.mark.parametrize("half", ["", "\0\0", "#!/bin/sh\nexit 1\n", "#!/bin/sh\nsleep 60\n"])
def test_fault_t12_an_executable_that_is_half_there_counts_when_it_runs(
    new_cli, tmp_path, monkeypatch, half
):
    monkeypatch.setattr("cowork.claude.installation.PROVE_TIMEOUT_S", 0.5)
    monkeypatch.setattr("cowork.claude.installation.PROVE_RETRY_S", 0.05)
    path = program(tmp_path / "x", text=speaking("1.0"))
    cli = new_cli(str(path))
    assert cli.generation() == 0
    program(tmp_path / "x", text=half)
    assert cli.generation() == 0
    path.unlink()
    assert cli.generation() == 0
    program(tmp_path / "x", text=speaking("2.0"))
    wait_for(lambda: cli.generation() == 1, what="the new one")
    cli.close()


def test_one_asks_the_new_executable_and_the_others_do_not_wait(new_cli, tmp_path):
    path = program(tmp_path / "x", text=speaking("1.0"))
    cli = new_cli(str(path))
    cli.generation()
    go = tmp_path / "go"
    program(tmp_path / "x", text=f"#!/bin/sh\nwhile ! [ -e {go} ]; do sleep 0.02; done; echo 2.0\n")
    first = threading.Thread(target=cli.generation)
    first.start()
    wait_for(lambda: cli._proving, what="the first who looks")
    assert cli.generation() == 0
    go.touch()
    first.join(PATIENCE_S)
    assert cli.generation() == 1


def test_a_wrapper_that_runs_another_version_is_another_cli(new_cli, tmp_path):
    version = tmp_path / "version"
    version.write_text("1.0")
    path = program(tmp_path / "x", text=f"#!/bin/sh\necho `cat {version}`\n")
    cli = new_cli(str(path))
    cli.generation()
    cli.check()
    cli.check()
    assert cli.generation() == 0
    version.write_text("2.0")
    cli.check()
    assert cli.generation() == 1
