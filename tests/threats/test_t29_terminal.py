"""T29: what a model or a server writes does nothing to a terminal, and no key is printed there."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from rich.markdown import Markdown

from cowork.terminal.output import SafeConsole
from cowork.terminal.text import clean
from tests.lying_server import DONE, LyingServer, answer, lying, stream, token
from tests.terminal.shell import KEY, Shell

# Retitles the window, clears the screen, has some terminals answer, rings, hides what stands before.
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\x1bP$q\x1b\\safe\rrm -rf\x08\u202egpj\u2028x\x7f"
SEEN = "␛]0;owned␇␛[2J�31m␛P$q␛\\safe␍rm -rf␈�gpj�x␡"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
MARKDOWN = [
    EVIL,
    f"```\n{EVIL}\n```",
    f"`{EVIL}` **{EVIL}** # {EVIL}",
    "&#27;]0;owned&#7; &#x9b;31m &#8238; &#13; &#127;",
    "<http://x/%1b]0;owned%07> [x](http://x/%1b%5b2J%c2%9b31m) ![y](%1b]0;owned)",
    f"| {EVIL} | b |\n|---|---|\n| {EVIL} | c |",
    "[click](javascript:alert(1)) <b onclick=x>\x1b[5m</b>",
    "[red]rich[/red] [link=http://evil]x[/link] :bell:",
]


def controls(text: str) -> set[str]:
    """The characters that a terminal would not print."""
    return {each for each in text if not each.isprintable() and each != "\n"}


def test_t29_of_all_characters_those_that_are_to_be_seen_get_through() -> None:
    for code in range(sys.maxunicode + 1):
        shown = clean(chr(code))
        assert len(shown) == 1
        assert (
            shown.isprintable()
            or shown in "\n\t\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
            or shown.isspace()
        )
    assert clean("né 日本 👩‍🚀\tx\r\n") == "né 日本 👩‍🚀\tx\n"
    assert clean(EVIL) == SEEN


@pytest.mark.parametrize("text", MARKDOWN)
def test_t29_markdown_makes_no_control_character_and_no_hidden_link(text: str) -> None:
    for shown in (text, Markdown(text), Markdown(text, hyperlinks=False)):
        file = io.StringIO()
        console = SafeConsole(file=file, force_terminal=True, width=60, markup=False, emoji=False)
        console.print(shown)
        printed = COLOURS.sub("", file.getvalue())
        assert controls(printed) == set()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Callable[[LyingServer], Shell]]:
    with ExitStack() as stack:
        yield lambda server: Shell(server.url, tmp_path, stack)


LISTED = {
    "sessions": {"sessions": [{"project_id": EVIL, "state": EVIL, "title": EVIL}], "next": None},
    "messages p": {
        "messages": [{"role": "assistant", "parts": [{"type": "text", "text": f"{EVIL} &#27;[2J"}, {"type": "tool_use", "name": EVIL, "input": {"x": EVIL}}, {"type": "tool_result", "content": EVIL, "is_error": True}]}],
        "next": None,
    },
    "approvals": {"approvals": [{"id": EVIL, "project_id": EVIL, "tool": "Bash", "state": "pending", "input": {"command": EVIL}}]},
    "health": {"ready": False, "reasons": [EVIL], "claude": {"problem": EVIL}, "version": EVIL},
}  # fmt: skip


@pytest.mark.parametrize("command", LISTED)
def test_t29_a_listing_on_a_terminal(command: str, shell: Callable[[LyingServer], Shell]) -> None:
    with lying(answer(200, LISTED[command])) as server:
        shown = shell(server).terminal(*command.split())
        shown.end()
    assert "␛]0;owned␇" in shown.text
    assert controls(shown.text) == set()
    assert controls(COLOURS.sub("", shown.raw.decode()).replace("\r\n", "")) == set()


def test_t29_an_answer_and_an_error_on_a_terminal(shell: Callable[[LyingServer], Shell]) -> None:
    pieces = [token(each) for each in (EVIL[:1], EVIL[1:20], EVIL[20:])]
    failed = {"type": "error", "error": EVIL, "code": EVIL}
    frames = [{"type": "tool_use", "id": "1", "name": "Bash", "input": {"command": EVIL}}, *pieces]
    with lying(stream(*frames, failed, {**DONE, "success": False, "model": EVIL})) as server:
        shown = shell(server).terminal("ask", "why?")
        assert shown.end() == 1
    assert shown.text.count("␛]0;owned␇") >= 3
    assert controls(COLOURS.sub("", shown.raw.decode()).replace("\r\n", "")) == set()


def test_t29_in_a_pipe_an_answer_is_exact_and_all_else_is_clean(
    shell: Callable[[LyingServer], Shell],
) -> None:
    with lying(stream(token(EVIL), DONE)) as server:
        done = shell(server).pipe("ask", "why?")
    assert (done.stdout, done.stderr) == (f"{EVIL}\n", "")
    refused = {"detail": {"error": EVIL, "code": EVIL}}
    with lying(answer(500, refused)) as server:
        done = shell(server).pipe("ask", "why?")
    assert (done.stdout, done.returncode) == ("", 1)
    assert controls(done.stderr) == set()


def test_t29_no_key_is_printed_whatever_a_server_answers(
    shell: Callable[[LyingServer], Shell],
) -> None:
    said = {"detail": {"error": f"you sent {KEY}", "code": "x"}}
    for reply in (answer(500, said), answer(502, f"<p>Bearer {KEY}".encode()), b"garbage"):
        for words in (["health"], ["health", "--json"], ["health", "--key", KEY]):
            with lying(reply) as server:
                done = shell(server).pipe(*words)
            assert done.returncode in {1, 3}
            assert KEY not in done.stdout + done.stderr
