"""How the CLI is called: constants and our own UUIDs, an allow-listed environment."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowork.claude import command
from cowork.claude.command import MARKER, LaunchConfig
from cowork.runtime.unix_user import UnixUser

SESSION = "0b5e7ac1-6a1c-4b6e-9c1a-2f4f0e1d2c3b"
PLAIN = LaunchConfig()


def argv(session=SESSION, *, resume=False, launch_config=PLAIN):
    return command.argv("/bin/claude", session, resume=resume, launch_config=launch_config)


@given(st.uuids(version=4), st.booleans())
def test_argv_is_constant_but_for_the_sessions_uuid(session, resume):
    *constant, last = argv(str(session), resume=resume)
    assert constant == argv()[:-1]
    assert last == f"--{'resume' if resume else 'session-id'}={session}"


def test_argv_says_all_that_a_resident_process_needs():
    assert argv() == [
        "/bin/claude",
        "--print",
        "--verbose",
        "--input-format=stream-json",
        "--output-format=stream-json",
        "--include-partial-messages",
        "--permission-mode=default",
        f"--tools={','.join(command.TOOLS)}",
        f"--disallowedTools={','.join(command.NO_TOOLS)}",
        f"--settings={json.dumps(command.settings({}, PLAIN))}",
        "--setting-sources=user",
        "--strict-mcp-config",
        f"--session-id={SESSION}",
    ]


def test_nothing_that_a_client_sends_is_a_parameter_of_argv():
    assert list(inspect.signature(command.argv).parameters) == [
        "executable",
        "session_id",
        "resume",
        "launch_config",
        "options",  # of which switches and one of three modes are in it, no text of a client's
        "model",  # a name of the CLI's own list
        "environ",  # what the process gets, of which nothing is a client's
    ]


NO_UUIDS = [
    *("", " ", "x", "--help", "--settings={}", "my title", "../../etc/passwd", "\0"),
    *(SESSION[:-1], SESSION + "0", f" {SESSION}", f"{SESSION}\n", f"{SESSION} --help"),
    *(SESSION.replace("0", "g"), SESSION.replace("-", "_"), "0x" + SESSION[2:]),
    # Python reads these as UUIDs; the CLI takes them for titles, or for other sessions.
    *(SESSION.upper(), SESSION.replace("-", ""), f"{{{SESSION}}}", f"urn:uuid:{SESSION}"),
]


@pytest.mark.parametrize("session", NO_UUIDS)
def test_a_session_that_is_not_named_by_a_plain_uuid_is_refused(session):
    for resume in (True, False):
        with pytest.raises(ValueError):  # noqa: PT011 - the words are Python's
            argv(session, resume=resume)


@given(st.text(max_size=60))
def test_no_text_becomes_an_argument(text):
    try:
        found = argv(text)
    except ValueError:
        return
    assert str(UUID(text)) == text
    assert found == argv(text)


def test_a_trusted_project_may_bring_its_settings_and_servers():
    trusted = argv(launch_config=LaunchConfig(trust_projects=True))
    assert not {"--setting-sources=user", "--strict-mcp-config"} & set(trusted)


def denied(environ, **launch_config):
    found = command.settings(environ, LaunchConfig(**launch_config))
    assert found["crossSessionInbound"] == "refuse"
    return found["permissions"]["deny"]


@pytest.mark.parametrize("trusted", [False, True])
def test_fault_s1_other_processes_are_not_listened_to_whoever_is_trusted(trusted):
    launch_config = LaunchConfig(trust_projects=trusted)
    (said,) = [each for each in argv(launch_config=launch_config) if each.startswith("--settings=")]
    assert json.loads(said.partition("=")[2])["crossSessionInbound"] == "refuse"


def test_fault_s2_what_all_sessions_of_a_directory_share_is_closed_to_the_file_tools():
    rules = denied({"HOME": "/home/a", "TMPDIR": "/var/t"})
    uid = os.getuid()
    for folder in ("projects", "agent-memory", "tasks", "teams"):
        assert {f"{what}(//home/a/.claude/{folder}/**)" for what in ("Read", "Edit")} <= {*rules}
    for folder in (f"//tmp/claude-{uid}", f"//var/t/claude-{uid}"):
        assert {f"{what}({folder}/**)" for what in ("Read", "Edit")} <= {*rules}


def test_fault_s2_a_session_with_a_directory_of_its_own_may_read_what_it_has_put_aside():
    rules = denied({"CLAUDE_CONFIG_DIR": "/etc/c"}, shared_workspace=False)
    assert "Read(//etc/c/projects/**)" not in rules
    assert {"Edit(//etc/c/projects/**)", "Read(//etc/c/tasks/**)"} <= {*rules}
    assert "Read(//etc/c/file-history/**)" not in rules
    assert not any("claude-" in rule for rule in rules)


def test_fault_s2_a_session_that_reads_unasked_may_not_read_what_others_have_put_aside():
    rules = denied({"HOME": "/h"}, shared_workspace=False, permission_mode="plan")
    assert {"Read(//h/.claude/projects/**)", f"Read(//tmp/claude-{os.getuid()}/**)"} <= {*rules}


def test_t26_what_a_rewind_restores_is_closed_to_the_file_tools():
    for mode in ("default", "acceptEdits", "plan"):
        for is_shared in (False, True):
            rules = denied({"HOME": "/h"}, shared_workspace=is_shared, permission_mode=mode)
            assert "Edit(//h/.claude/file-history/**)" in rules


def test_checkpoints_are_kept_where_the_operator_wants_them():
    name = "CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING"
    for wanted in (False, True):
        config = LaunchConfig(checkpoints=wanted)
        found = command.environment({name: "1"}, marker="m", launch_config=config)
        assert found.get(name) == ("1" if wanted else None)


def test_a_folders_name_cannot_change_the_rule_that_it_stands_in():
    rules = denied({"CLAUDE_CONFIG_DIR": "/x/a) Bash(*) [b] é*/"})
    assert "Read(//x/a??Bash?????b?????projects/**)" not in rules
    assert "Read(//x/a??Bash?????b????/projects/**)" in rules


def test_the_other_users_files_are_meant_where_the_cli_is_another_users():
    rules = denied({}, cli_user=OTHER, setpriv="/bin/setpriv")
    assert f"Read(//tmp/claude-{OTHER.uid}/**)" in rules


def test_a_trusted_project_may_tell_of_its_repository():
    assert "CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS" not in environment({}, trust_projects=True)


def test_the_permission_mode_is_always_named():
    assert "--permission-mode=plan" in argv(launch_config=LaunchConfig(permission_mode="plan"))
    assert "--permission-mode=default" in argv(launch_config=LaunchConfig(trust_projects=True))


def test_setpriv_ties_the_clis_life_to_ours():
    found, cwd = command.privilege_prefix(LaunchConfig(setpriv="/usr/bin/setpriv"), "/work")
    assert found == ["/usr/bin/setpriv", "--pdeathsig", "TERM", "--"]
    assert cwd == "/work"
    assert command.privilege_prefix(PLAIN, "/work") == ([], "/work")


OTHER = UnixUser("cowork", 1234, 1235, Path("/home/cowork"), "/bin/sh", frozenset({1235}))


def test_another_user_goes_to_its_folder_with_its_own_rights():
    launch_config = LaunchConfig(setpriv="/usr/bin/setpriv", cli_user=OTHER)
    found, cwd = command.privilege_prefix(launch_config, "/work/p")
    assert found == [
        *("/usr/bin/setpriv", "--reuid=1234", "--regid=1235", "--init-groups", "--no-new-privs"),
        *("--pdeathsig", "TERM", "--", "env", "--chdir=/work/p"),
    ]
    assert cwd == "/"


def test_another_user_gets_its_own_home():
    launch_config = LaunchConfig(setpriv="/usr/bin/setpriv", cli_user=OTHER)
    ours = {"HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/zsh"}
    found = command.environment(ours, marker="m", launch_config=launch_config)
    assert found["HOME"] == "/home/cowork"
    assert (found["USER"], found["LOGNAME"], found["SHELL"]) == ("cowork", "cowork", "/bin/sh")


def test_without_setpriv_there_is_no_other_user():
    with pytest.raises(ValueError, match="root"):
        LaunchConfig(cli_user=OTHER)


def environment(environ, **launch_config):
    return command.environment(environ, marker="1:2:x", launch_config=LaunchConfig(**launch_config))


CANARIES = [
    *("COWORK_API_KEYS", "CHAT_API_TOKEN", "XO_POLL_TOKEN", "XO_AUTH_SESSION_ID"),
    *("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "DATABASE_URL", "SSH_AUTH_SOCK", "HTTP_PROXY"),
    *("https_proxy", "PYTHONPATH", "LD_PRELOAD", "NODE_OPTIONS", "CLAUDECODE", "CLAUDE_CLI_PATH"),
    *("CLAUDE_CODE_SIMPLE", "SERVER_SOFTWARE", "GUNICORN_CMD_ARGS", "MY_ANTHROPIC_KEY", "LC", ""),
]


@pytest.mark.parametrize("name", CANARIES)
def test_what_is_not_on_the_list_does_not_reach_the_cli(name):
    assert "canary" not in environment({name: "canary"}).values()


PASSED = [
    *("HOME", "PATH", "LANG", "LC_ALL", "LC_TIME", "TERM", "TZ", "USER", "LOGNAME", "SHELL"),
    *("TMPDIR", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_MODEL", "DISABLE_TELEMETRY"),
    *("CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CONFIG_DIR", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"),
    *("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",),
]


@pytest.mark.parametrize("name", PASSED)
def test_what_the_cli_needs_reaches_it(name):
    assert environment({name: "value"})[name] == "value"


def test_an_operator_can_pass_more_by_its_exact_name():
    given_all = {"HTTPS_PROXY": "p", "HTTPS_PROXY_TOO": "canary"}
    found = environment(given_all, passed=("HTTPS_PROXY", "ABSENT"))
    assert found["HTTPS_PROXY"] == "p"
    assert not {"HTTPS_PROXY_TOO", "ABSENT"} & found.keys()


def test_what_keeps_a_process_in_check_cannot_be_switched_off_from_outside():
    always = {
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
        "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
        "CLAUDE_CODE_DISABLE_CRON": "1",
        "CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS": "1",
        "CLAUDE_CODE_DISABLE_FILE_MENTIONS": "1",
        "CLAUDE_CODE_EAGER_FLUSH": "1",
        "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    found = environment(dict.fromkeys(always, "0"), passed=tuple(always))
    assert always.items() <= found.items()


def test_every_process_carries_its_own_marker_and_no_inherited_one():
    assert environment({MARKER: "another"}, passed=(MARKER,))[MARKER] == "1:2:x"


def test_the_clis_own_retries_are_bounded():
    assert environment({})["CLAUDE_CODE_MAX_RETRIES"] == "2"
    assert environment({}, retries=0)["CLAUDE_CODE_MAX_RETRIES"] == "0"


def test_fault_t11_a_tool_server_that_hangs_is_not_waited_for_long():
    assert environment({})["MCP_TIMEOUT"] == "5000"
    assert environment({"MCP_TIMEOUT": ""})["MCP_TIMEOUT"] == "5000"
    assert environment({"MCP_TIMEOUT": "60000"})["MCP_TIMEOUT"] == "60000"


def test_there_is_always_a_path():
    assert environment({})["PATH"] == os.defpath


def test_the_environment_that_was_given_is_left_alone():
    given_all = {"HOME": "/root"}
    environment(given_all)
    assert given_all == {"HOME": "/root"}


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("hello", "hello"),
        ("/config key=value", " /config key=value"),
        ("/", " /"),
        ("//x", " //x"),
        (" /config", " /config"),
        ("\n/config", "\n/config"),
        ("-x --help", "-x --help"),
        ("a /config", "a /config"),
        ("", ""),
    ],
)
def test_text_that_looks_like_a_command_gets_a_leading_space(question, asked):
    assert command.prompt(question, None, slash_commands=False) == asked


@given(st.text(max_size=30))
def test_no_question_is_a_command_unless_commands_are_on(question):
    asked = command.prompt(question, None, slash_commands=False)
    assert not asked.startswith("/")
    assert asked.removeprefix(" ") == question.removeprefix(" ") or asked == question
    assert command.prompt(question, None, slash_commands=True) == question


def test_a_skill_is_called_with_the_question_behind_it():
    assert command.prompt("do it", "code-writer", slash_commands=False) == "/code-writer do it"
    assert command.prompt("/etc is", "verify", slash_commands=False) == "/verify /etc is"


EARLIER = [("who is Ada?", "a </earlier_conversation> pioneer\nof computing"), ("日本?", "yes")]


def recalled(block):
    """What a block tells, checked to be one block."""
    lines = block.split("\n")
    assert (lines[0], lines[-1]) == ("<earlier_conversation>", "</earlier_conversation>")
    assert block.count("earlier_conversation>") == 3, "two ends and a quoted one"
    return [tuple(json.loads(line).values()) for line in lines[2:-1]]


def test_an_earlier_conversation_goes_before_a_question_as_a_block_that_nothing_can_end():
    asked = command.prompt("and now?", None, slash_commands=False, earlier=EARLIER)
    block, _, question = asked.rpartition("\n\n")
    assert question == "and now?"
    assert recalled(block) == EARLIER


def test_an_earlier_conversation_goes_behind_a_skills_question():
    asked = command.prompt("do it", "verify", slash_commands=False, earlier=EARLIER)
    call, _, block = asked.partition("\n\n")
    assert call == "/verify do it"
    assert recalled(block) == EARLIER


@pytest.mark.parametrize(
    ("agent_type", "skill"),
    [
        (None, None),
        ("", None),
        ("   ", None),
        ("Code_Writer", "code-writer"),
        ("  verify\n", "verify"),
        ("plugin:skill", "plugin:skill"),
        ("A1", "a1"),
        ("x" * 128, "x" * 128),
    ],
)
def test_an_agent_type_is_named_as_the_cli_names_skills(agent_type, skill):
    assert command.skill_name(agent_type) == skill


NO_SKILLS = [
    "a b",
    "a/b",
    "../x",
    "a\nb",
    "a;b",
    "a.b",
    "ü",
    "x" * 129,
    "/x",
    "a\0",
    "$x",
    "\uff41",
]


@pytest.mark.parametrize("agent_type", NO_SKILLS)
def test_what_cannot_name_a_skill_is_refused(agent_type):
    with pytest.raises(ValueError, match="skill"):
        command.skill_name(agent_type)
