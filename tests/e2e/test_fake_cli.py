"""The fake CLI prints what the real one prints: the same events in the same order, no other keys."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cowork.claude.stream_json import protocol
from cowork.demo.model import serve
from tests import program
from tests.e2e.environment import long_tool
from tests.fake_claude import install
from tests.fake_claude.driver import ARGUMENTS, Cli, Event, costs, outline, result_of
from tests.patience import PATIENCE_S

Start = Callable[..., Cli]
BASH = """[[tool Bash {"command": "echo hi", "description": "d"}]] x"""
# What depends on the turn or the model and not on the CLI.
ANY = {"input", "tool_use_result", "account"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path


@pytest.fixture
def real(real_claude: str, folder: Path) -> Iterator[Start]:
    """Starts the real one, against a model on loopback."""
    with serve(delay=0.001) as model, ExitStack() as stack:
        environment = {
            "PATH": os.environ["PATH"],
            "ANTHROPIC_BASE_URL": model.url,
            "ANTHROPIC_API_KEY": "sk-dummy",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            **program.QUIET,
        }
        yield lambda **more: stack.enter_context(
            Cli(Path(real_claude), folder, environment=environment, **more)
        )


@pytest.fixture
def fake(folder: Path) -> Iterator[Start]:
    with ExitStack() as stack:
        claude = install(folder / "bin")
        yield lambda **more: stack.enter_context(Cli(claude, folder, **more))


def kind_of(event: Event) -> str:
    (name,) = outline([event])
    content = (event.get("message") or {}).get("content") or [{}]
    delta = (event.get("event") or {}).get("delta") or {}
    return f"{name} {content[0].get('type', '')} {delta.get('type', '')}".strip()


def keys(value: Any, at: str = "") -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from keys(each, at)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield f"{at}.{name}"
            if name not in ANY:
                yield from keys(inner, f"{at}.{name}")


def shapes(events: list[Event]) -> dict[str, set[str]]:
    """The keys that each kind of event has."""
    found: dict[str, set[str]] = {}
    for event in events:
        found.setdefault(kind_of(event), set()).update(keys(event))
    return found


def session_of(cli: Cli, tool: str) -> list[list[Event]]:
    """What it says to `initialize`, of a plain turn and of one with a tool."""
    cli.control("initialize")
    told = cli.wait_for(lambda event: event["type"] == "control_response")
    return [[told], cli.turn("[[words 4]]"), cli.turn(tool)]


@pytest.mark.usefixtures("_newest")
def test_the_fake_prints_the_events_of_the_real_one(real, fake):
    ours, theirs = session_of(fake(), "[[tool]] x"), session_of(real(), BASH)
    for played, recorded in zip(ours, theirs, strict=True):
        assert outline(played) == outline(recorded)
        there = shapes(recorded)
        more = {kind: found - there[kind] for kind, found in shapes(played).items()}
        assert {kind: found for kind, found in more.items() if found} == {}
    assert list(result_of(ours[1])) == [
        name for name in result_of(theirs[1]) if name in result_of(ours[1])
    ]


def test_the_real_one_counts_costs_as_the_fake_does(real):
    first = real()
    once, _ = costs(first.turn("[[words 2]]"))
    twice, since = costs(first.turn("[[words 2]]"))
    assert (once > 0, since) == (True, pytest.approx(twice - once))
    first.close_stdin()
    assert first.wait() == 0
    second = real(resume=first.session)
    total, since = costs(second.turn("[[words 2]]"))
    assert total - since == pytest.approx(twice)
    second.process.kill()
    second.wait()
    total, since = costs(real(resume=first.session).turn("[[words 2]]"))
    assert total - since == pytest.approx(twice)


def test_the_real_one_says_whether_it_can_be_steered_from_elsewhere(real):
    cli = real()
    cli.control("initialize")
    told = cli.wait_for(lambda event: event["type"] == "control_response")
    assert protocol.offers_remote_control(told["response"]["response"]) is False


def said_meanwhile(cli: Cli, question: str, text: str) -> tuple[str, list[str]]:
    """When the CLI takes in what is said while it runs a tool, and all that it says of that."""
    first = len(cli.events)
    cli.ask(question)
    cli.wait_for(lambda event: "tool_use" in kind_of(event), after=first)
    uuid = cli.ask(text)
    cli.wait_for(
        lambda event: event.get("command_uuid") == uuid and event["state"] == "completed",
        after=first,
    )
    cli.wait_for(lambda event: event.get("state") == "idle", after=first)
    seen = cli.events[first:]
    states = [event["state"] for event in seen if event.get("command_uuid") == uuid]
    kinds = [
        "started"
        if event.get("command_uuid") == uuid and event["state"] == "started"
        else event["type"]
        for event in seen
    ]
    where = "in the turn" if kinds.index("started") < kinds.index("result") else "after it"
    return where, states


@pytest.mark.parametrize("text", ["x", " /compact x"])
def test_the_fake_takes_in_what_the_real_one_does(real, fake, text):
    tool = long_tool(1)
    allowed = (*ARGUMENTS, "--allowedTools=Bash")
    ours = said_meanwhile(fake(), "[[tool 1]] x", text)
    theirs = said_meanwhile(real(arguments=allowed), f"{tool} [[say x]]", text)
    assert ours == theirs
    assert ours[0] == ("after it" if "/" in text else "in the turn")


def cancelled(cli: Cli, question: str) -> tuple[list[str], list[str]]:
    """What the CLI says of a message that waits when it is told to cancel that with the turn."""
    first = len(cli.events)
    cli.ask(question)
    cli.wait_for(lambda event: "tool_use" in kind_of(event), after=first)
    uuid = cli.ask("never")
    cli.wait_for(lambda event: event.get("command_uuid") == uuid, after=first)
    cli.control("interrupt", cancel_queued=True)
    answer = cli.wait_for(lambda event: "of-interrupt" in str(event), after=first)
    cli.wait_for(lambda event: event.get("state") == "idle", after=first)
    states = [event["state"] for event in cli.events[first:] if event.get("command_uuid") == uuid]
    return states, ["it" for each in answer["response"]["response"]["cancelled"] if each == uuid]


def test_the_fake_cancels_what_waits_as_the_real_one_does(real, fake):
    allowed = (*ARGUMENTS, "--allowedTools=Bash")
    ours = cancelled(fake(), "[[tool 30]] x")
    assert ours == cancelled(real(arguments=allowed), long_tool(30))
    assert ours == (["queued", "cancelled"], ["it"])


def test_what_servers_are_told_of_a_key_is_what_the_real_one_says(real_claude, folder):
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder / "home")}
    environment["ANTHROPIC_API_KEY"] = "sk-dummy"
    script = program.knowing_its_login(real_claude, folder / "bin")

    def said(claude: str) -> dict[str, Any]:
        command = [claude, "auth", "status"]
        return json.loads(subprocess.check_output(command, env=environment, timeout=PATIENCE_S))

    assert said(script).items() <= said(real_claude).items()
    # Without a key it is asked itself.
    del environment["ANTHROPIC_API_KEY"]
    asked = subprocess.run(
        [script, "auth", "status"], env=environment, capture_output=True, check=False
    )
    assert json.loads(asked.stdout)["loggedIn"] is False
