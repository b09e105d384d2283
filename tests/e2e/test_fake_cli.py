"""The fake CLI prints what the real one prints: the same events in the same order, no other keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cowork.claude.stream_json import protocol
from cowork.demo.model import serve
from tests.fake_claude import install
from tests.fake_claude.driver import Cli, Event, costs, outline, result_of

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
