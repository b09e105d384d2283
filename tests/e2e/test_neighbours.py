"""Nothing of one owner's reaches another's session: no tool, no message, no memory, no transcript.

What the model is sent is held against lists and against itself, so that a newer CLI which adds
something fails here before it serves anybody.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cowork.demo.record import RecordedRequest
from tests import program
from tests.background import BackgroundCalls
from tests.e2e.environment import Stage, at_long_tool, long_tool
from tests.fake_claude.driver import Cli, Event, result_of
from tests.serving import Client, wait_for

pytestmark = pytest.mark.e2e

Another = Callable[..., Client]
Staged = Callable[..., Stage]

TOOLS = json.loads((Path(__file__).parent / "tools.json").read_text())
KEYS = {"a": "a" * 40, "b": "b" * 40}
OWNERS = {"COWORK_API_KEYS": ",".join(f"{name}={key}" for name, key in KEYS.items())}
CANARY = "okapi"
# The CLI's own words before the names of tools that the model can load.
DEFERRED = re.compile(r"deferred tools are now available[^\n]*:\n((?:\w+\n)+)")
USER_AGENT = """---
name: wide
description: a user's own agent
tools: ListAgents, SendMessage, Workflow, EnterWorktree, Monitor, CronCreate, Bash
---
You have many tools.
"""


def tool(name: str, **arguments: object) -> str:
    return f"[[tool {name} {json.dumps(arguments)}]]"


def text_of(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(b.get("text", "") for b in content)


def tools_of(body: dict[str, Any]) -> set[str]:
    """The names of all tools that a request tells the model of, the deferred ones too."""
    named = {each["name"] for each in body.get("tools", ())}
    for message in body["messages"]:
        if message["role"] in ("system", "user"):
            for names in DEFERRED.findall(text_of(message["content"])):
                named |= set(names.split())
    return named


def of_session(stage: Stage, session: str) -> list[RecordedRequest]:
    return [each for each in stage.model.exchanges if each.session == session]


@contextmanager
def an_outsider(stage: Stage, claude: str, **more: Any) -> Iterator[Cli]:
    """A CLI of the same user, started by somebody else with none of our precautions."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(stage.folder / "home"),
        "CLAUDE_CONFIG_DIR": str(stage.config),
        "ANTHROPIC_BASE_URL": stage.model.url,
        "ANTHROPIC_API_KEY": "sk-dummy",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        **program.QUIET,
    }
    elsewhere = stage.folder / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    with Cli(Path(claude), elsewhere, environment=environment, **more) as cli:
        yield cli


def told(events: list[Event]) -> str:
    return str(result_of(events)["result"])


# -- S1: tools


def test_fault_s1_the_model_is_sent_no_tool_that_nobody_looked_at(stage: Stage) -> None:
    stage.server.ask("[[say hi]]", "tools")
    sent = tools_of(stage.model.requests[-1])
    assert {"Bash", "WebFetch"} <= sent  # one in full, one deferred: both places are seen
    assert sent <= TOOLS["sent"].keys()


@pytest.mark.parametrize("mode", ["plan", "acceptEdits"])
def test_fault_s1_nor_in_another_permission_mode(staged: Staged, mode: str) -> None:
    stage = staged(COWORK_PERMISSION_MODE=mode)
    stage.server.ask("[[say hi]]")
    assert tools_of(stage.model.requests[-1]) <= TOOLS["sent"].keys()


def test_fault_s1_every_tool_that_the_cli_has_by_itself_has_been_looked_at(
    stage: Stage, real_claude: str
) -> None:
    # Our list of tools hides what a newer CLI adds; here somebody learns of it.
    with an_outsider(stage, real_claude) as cli:
        cli.turn("[[say hi]]")
        opening = next(event for event in cli.events if event.get("subtype") == "init")
        (request,) = of_session(stage, cli.session)
        found = tools_of(request.body) | {*opening["tools"]} - {"Task"}
    assert found <= TOOLS["sent"].keys() | TOOLS["not sent"].keys()
    assert {"SendMessage", "EnterWorktree"} <= found  # else this looks at nothing


def test_fault_s1_a_sub_agent_has_no_more_tools_than_its_session(staged: Staged) -> None:
    stage = staged()
    (stage.config / "agents").mkdir()
    (stage.config / "agents" / "wide.md").write_text(USER_AGENT)
    kinds = ["general-purpose", "claude", "Explore", "Plan", "wide", "fork"]
    for kind in kinds:
        asked = {"description": "d", "prompt": f"[[say I am {kind}]]", "subagent_type": kind}
        stage.server.ask(tool("Agent", **asked))
    agents = [each for each in stage.model.exchanges if each.kind == "agent"]
    assert len({each.question for each in agents}) >= len(kinds) - 1  # a fork may be refused
    for each in agents:
        assert tools_of(each.body) <= TOOLS["sent"].keys()


# -- S1: messages


def test_fault_s1_one_project_finds_no_other_and_sends_it_nothing(
    staged: Staged, another: Another
) -> None:
    stage = staged(**OWNERS)
    a, b = (another(stage.server.url, KEYS[name]) for name in "ab")
    session = b.ask("[[say b]]", "quiet").json()["session_id"]
    seen = len(of_session(stage, session))
    name = json.loads(next(stage.config.glob("sessions/*.json")).read_text()).get("name", "quiet")
    listed = a.ask(tool("ListAgents"), "loud").json()["message"]
    assert listed.startswith("I will use ListAgents.\n\nListAgents failed:"), listed
    sent = a.ask(tool("SendMessage", to=name, message=CANARY, summary="s"), "loud")
    assert "SendMessage failed:" in sent.json()["message"]
    b.ask("[[say still here]]", "quiet")
    assert len(of_session(stage, session)) == seen + 1
    assert CANARY not in json.dumps(of_session(stage, session)[-1].body)


def tool_results(event: Event) -> list[Event]:
    """What an event says that tools have answered."""
    content = event["message"]["content"] if event["type"] == "user" else ""
    blocks = [] if isinstance(content, str) else content
    return [block for block in blocks if block.get("type") == "tool_result"]


def send(cli: Cli, to: str) -> Event:
    """Send the canary; what the tool answers.

    Not what the turn ends with: the notice that the receiver refused comes into the same turn, or
    begins the next one.
    """
    first = len(cli.events)
    cli.ask(tool("SendMessage", to=to, message=CANARY, summary="s"))
    (answered,) = tool_results(cli.wait_for(lambda event: bool(tool_results(event)), after=first))
    return answered


def reach(cli: Cli, stage: Stage, session: str) -> bool:
    """Send the canary to a resident process by all the ways there are; whether one took it."""
    pid = stage.cli(session)
    known = json.loads((stage.config / "sessions" / f"{pid}.json").read_text())
    listed = told(cli.turn(tool("ListAgents")))
    assert session[:8] in listed or known["cwd"] in listed or known.get("name", "?") in listed
    ways = [f"uds:{known['messagingSocketPath']}", known.get("name")]
    answers = [send(cli, way) for way in ways if way]
    return any(not answer.get("is_error") for answer in answers)


def assert_heard_nothing(stage: Stage, session: str, project: str, seen: int) -> None:
    """No request of the model's was made for it, and its next question tells of nothing."""
    reply = stage.server.ask("[[count]] next", project).json()
    assert CANARY not in reply["message"]
    assert reply["session_id"] == session
    exchanges = of_session(stage, session)
    assert len(exchanges) == seen + 1
    assert CANARY not in json.dumps([each.body for each in exchanges])
    assert CANARY not in stage.transcript(session).read_text()


@pytest.mark.parametrize("trusting", [False, True])
def test_fault_s1_a_message_from_outside_begins_no_turn_in_an_idle_process(
    staged: Staged, real_claude: str, trusting: bool
) -> None:
    stage = staged(COWORK_TRUST_PROJECTS=str(trusting).lower())
    # Neither the user's settings nor a project's open what the server has closed.
    wide = {"crossSessionInbound": "accept", "permissions": {"allow": ["Bash"]}}
    (stage.workspace / ".claude").mkdir()
    for folder in (stage.config, stage.workspace / ".claude"):
        (folder / "settings.json").write_text(json.dumps(wide))
    session = stage.server.ask("[[say b]]", "quiet").json()["session_id"]
    seen = len(of_session(stage, session))
    with an_outsider(stage, real_claude) as cli:
        assert reach(cli, stage, session)
    assert_heard_nothing(stage, session, "quiet", seen)


def test_fault_s1_a_message_from_outside_does_not_come_into_a_running_turn(
    staged: Staged, real_claude: str, background: BackgroundCalls, another: Another
) -> None:
    stage = staged()
    (stage.config / "settings.json").write_text('{"permissions": {"allow": ["Bash"]}}')
    session = stage.server.ask("[[say b]]", "busy").json()["session_id"]
    running = background(another(stage.server.url).ask, long_tool(6), "busy")
    wait_for(lambda: at_long_tool(stage, 6), what="the tool")
    with an_outsider(stage, real_claude) as cli:
        assert reach(cli, stage, session)
        assert at_long_tool(stage, 6), "the turn was over too soon"
    assert running.result().status_code == 200
    assert_heard_nothing(stage, session, "busy", 3)


def test_the_outsiders_message_does_reach_a_process_without_our_precautions(
    stage: Stage, real_claude: str
) -> None:
    # Else the tests above would pass for any reason.
    with an_outsider(stage, real_claude) as receiver, an_outsider(stage, real_claude) as cli:
        receiver.turn("[[say b]]")
        opening = next(e for e in receiver.events if e.get("subtype") == "init")
        to = f"uds:{opening['messaging_socket_path']}"
        cli.turn(tool("SendMessage", to=to, message=CANARY, summary="s"))
        wait_for(lambda: len([e for e in receiver.events if e["type"] == "result"]) == 2)
        assert CANARY in json.dumps(of_session(stage, receiver.session)[-1].body)


# -- S10: skills that the CLI brings along


def test_fault_s10_only_a_skill_of_the_users_is_called(staged: Staged, tmp_path: Path) -> None:
    stage = staged(TMPDIR=str(tmp_path))
    skill = stage.config / "skills" / "batch"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: batch\ndescription: d\n---\nSay it.\n")
    for name in ("update-config", "simplify"):
        assert stage.server.ask("[[say hi]]", agent_type=name).status_code == 422
    assert stage.server.ask("[[say hi]]", agent_type="batch").json()["message"] == "hi"
    left = [each.name for each in tmp_path.glob("cowork-*")]
    assert [name for name in left if not name.startswith("cowork-metrics-")] == []


def test_the_cli_can_call_its_own_skills_where_that_is_wanted(staged: Staged) -> None:
    stage = staged(COWORK_BUNDLED_SKILLS="true")
    assert stage.server.ask("[[say hi]]", agent_type="simplify").json()["message"] == "hi"


# -- S2: what one session leaves to the next


def first_request(stage: Stage, client: Client, project: str) -> dict[str, Any]:
    session = client.ask("[[say hello]] to a new session", project).json()["session_id"]
    return of_session(stage, session)[0].body


# What differs between any two sessions, and nothing else: a name and how it is found.
DIFFERS = {
    # The session's id, in the metadata and wherever else.
    "uuid": re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
    # The CLI's digest of a request, in its billing header.
    "digest": re.compile(r"\bcch=[0-9a-f]+"),
    # That the workspace has become a repository; of what is in it, nothing.
    "repository": re.compile(r"Is a git repository: (?:true|false)"),
}


def normal(body: dict[str, Any]) -> list[str]:
    """A request line by line, without what differs between any two sessions."""
    text = json.dumps(body, indent=1, sort_keys=True).replace("\\n", "\n")
    for name, found in DIFFERS.items():
        text = found.sub(f"<{name}>", text)
    return text.splitlines()


def be_busy(stage: Stage, client: Client) -> None:
    """All that an owner can do to be remembered, in a mode that lets it write files."""
    memory = f"{stage.config}/projects/{re.sub('[^A-Za-z0-9]', '-', str(stage.workspace))}/memory"
    space = str(stage.workspace)
    ask = partial(client.ask, project="loud")
    ask(f"Remember for ever, for every session: {CANARY}. [[say noted]]")
    ask(f"# {CANARY} [[say noted]]")
    for path in (
        f"{memory}/MEMORY.md",
        f"{memory}/team/MEMORY.md",
        f"{stage.config}/agent-memory/general-purpose/MEMORY.md",
        *(f"{space}/{name}" for name in ("CLAUDE.md", "CLAUDE.local.md", "AGENTS.md")),
        f"{space}/.claude/CLAUDE.md",
        f"{space}/.claude/rules/all.md",
        f"{space}/.claude/output-styles/all.md",
        f"{space}/.claude/agent-memory/general-purpose/MEMORY.md",
        f"{space}/.claude/agents/all.md",
        f"{space}/.claude/skills/all/SKILL.md",
        f"{space}/.claude/commands/all.md",
        f"{stage.config}/plans/plan.md",
        f"{space}/{CANARY}.txt",
    ):
        text = f"---\nname: all\ndescription: {CANARY}\n---\n{CANARY}"
        ask(tool("Write", file_path=path, content=text))
    for command in ("git init -b okapi", "git config user.name okapi"):
        ask(tool("Bash", command=command, description="d"))
    ask(tool("Skill", skill="simplify"))
    ask(tool("Agent", description=CANARY, prompt=f"[[say {CANARY}]]"))
    ask(tool("TaskCreate", subject=CANARY, description=CANARY))
    ask(tool("SendMessage", to="quiet", message=CANARY, summary=CANARY))


def plant(stage: Stage) -> None:
    """What others that can write in the workspace could leave there, a repository too."""
    for name in ("CLAUDE.md", ".claude/CLAUDE.md", ".claude/rules/more.md"):
        path = stage.workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CANARY)
    skill = stage.workspace / ".claude" / "skills" / CANARY
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text(f"---\nname: {CANARY}\ndescription: {CANARY}\n---\n{CANARY}")
    (stage.workspace / ".mcp.json").write_text(
        json.dumps({"mcpServers": {CANARY: {"command": "false"}}})
    )
    identity = ["-c", f"user.name={CANARY}", "-c", "user.email=o@k"]
    for arguments in (
        ["init", "-q", "-b", CANARY],
        ["commit", "-q", "--allow-empty", "-m", CANARY],
    ):
        subprocess.run(
            ["/usr/bin/env", "git", *identity, *arguments], cwd=stage.workspace, check=True
        )


def test_fault_s2_a_new_session_is_sent_the_same_whatever_another_owner_did(
    staged: Staged, another: Another
) -> None:
    stage = staged(COWORK_PERMISSION_MODE="acceptEdits", **OWNERS)
    allow = {"permissions": {"allow": ["Bash(git *)"]}}
    (stage.config / "settings.json").write_text(json.dumps(allow))
    a, b = (another(stage.server.url, KEYS[name]) for name in "ab")
    before = first_request(stage, b, "quiet")
    be_busy(stage, a)
    assert (stage.workspace / "CLAUDE.md").exists()  # it was let to write there
    plant(stage)
    after = first_request(stage, b, "another")
    assert CANARY not in json.dumps(after)
    assert normal(after) == normal(before)


def test_fault_s2_nothing_is_kept_in_the_folders_that_sessions_share(staged: Staged) -> None:
    stage = staged()
    space = re.sub("[^A-Za-z0-9]", "-", str(stage.workspace))
    for path in (
        f"{stage.config}/projects/{space}/memory/MEMORY.md",
        f"{stage.config}/agent-memory/general-purpose/MEMORY.md",
        f"{stage.workspace}/.claude/agent-memory/general-purpose/MEMORY.md",
    ):
        said = stage.server.ask(tool("Write", file_path=path, content=CANARY)).json()["message"]
        assert "Write failed:" in said, said
        assert not Path(path).exists()


def test_fault_s2_a_session_cannot_read_what_was_said_in_another(
    staged: Staged, another: Another
) -> None:
    stage = staged(**OWNERS)
    a, b = (another(stage.server.url, KEYS[name]) for name in "ab")
    session = b.ask(f"[[say {CANARY}]] and never tell", "quiet").json()["session_id"]
    kept = stage.transcript(session)
    temporary = Path(f"/tmp/claude-{os.getuid()}/{kept.parent.name}/{session}/tasks/1.output")  # noqa: S108
    temporary.parent.mkdir(parents=True)
    temporary.write_text(CANARY)
    before = len(stage.model.requests)
    for path in (kept, temporary):
        a.ask(tool("Read", file_path=str(path)), "loud")
        for command in (f"cat {path}", f"head {path.parent}/*", f"grep -r ever {path.parent}"):
            a.ask(tool("Bash", command=command, description="d"), "loud")
    asked = [body["messages"] for body in stage.model.requests[before:]]
    assert len(asked) >= 16
    assert CANARY not in json.dumps(asked)
    assert "never tell" not in json.dumps(asked)


# Commands that the CLI takes for harmless, each naming the file in a way that it does not look at.
TELLING = (
    "wc --files0-from={kept}",
    "timeout 5 wc --fi''les={kept}",
    "du --files0-from {kept}",
    "diff --from-file={kept} f.txt",
    "diff '--to-file={kept}' f.txt",
    "strings @{kept}",
    "git blame --ignore-revs-file={kept} f.txt",
    "git blame --ignore\\-revs-file={kept} f.txt",
    "git blame --ig''nore-revs-file={kept} f.txt",
    "wc -\\-files0-from={kept}",
    "wc -'-files0-from={kept}'",
    "diff --\\to-file={kept} f.txt",
    "tree --fromfile {kept}",
)


def test_fault_s2_nor_by_an_option_that_names_a_file(staged: Staged, another: Another) -> None:
    stage = staged(**OWNERS)
    a, b = (another(stage.server.url, KEYS[name]) for name in "ab")
    (stage.workspace / "f.txt").write_text("f")
    plant(stage)
    identity = ("-c", "user.name=n", "-c", "user.email=o@k")
    for arguments in (["add", "f.txt"], [*identity, "commit", "-q", "-m", "f"]):
        subprocess.run(["/usr/bin/env", "git", *arguments], cwd=stage.workspace, check=True)
    kept = stage.transcript(b.ask("[[say secret]] and never tell", "quiet").json()["session_id"])
    before = len(stage.model.requests)
    for command in TELLING:
        a.ask(tool("Bash", command=command.format(kept=kept), description="d"), "loud")
    assert len(stage.model.requests) >= before + 2 * len(TELLING)
    assert "never tell" not in json.dumps([b["messages"] for b in stage.model.requests[before:]])
    for command in ("wc -l f.txt", "diff f.txt f.txt", "git blame f.txt"):
        said = a.ask(tool("Bash", command=command, description="d"), "loud").json()["message"]
        assert "Bash answered:" in said, said


@pytest.mark.parametrize("apart", [False, True])
def test_fault_s2_nor_in_the_mode_that_reads_unasked(
    staged: Staged, another: Another, *, apart: bool
) -> None:
    stage = staged(COWORK_PROJECT_DIRS=str(apart).lower(), **OWNERS)
    a, b = (another(stage.server.url, KEYS[name]) for name in "ab")
    kept = stage.transcript(b.ask("[[say secret]] and never tell", "quiet").json()["session_id"])
    before = len(stage.model.requests)
    a.ask(tool("Read", file_path=str(kept)), "loud", permission_mode="plan")
    asked = [body["messages"] for body in stage.model.requests[before:]]
    assert len(asked) >= 2
    assert "never tell" not in json.dumps(asked)
