"""`xo-cowork chat`: a conversation at a terminal, or the lines of a pipe one after the other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from cowork.client import CoworkError
from cowork.terminal import COMMANDS, exits
from cowork.terminal.asking import EFFORTS, Asker, question_options
from cowork.terminal.facts import items
from cowork.terminal.files import attached
from cowork.terminal.follow import Left, Screen
from cowork.terminal.live import MarkdownScreen
from cowork.terminal.person import Person
from cowork.terminal.run import Run, pass_run, server_options
from cowork.terminal.screens import PlainScreen, foot
from cowork.terminal.text import clean

PROMPT = "> "
HELP = """\
/attach FILE    send a file with the next question
/model NAME     answer by another model from now on; /model alone: the usual one
/effort LEVEL   how hard it thinks: low, medium, high, xhigh, max
/exit           leave (or Ctrl-D)
Ctrl-C          interrupts the answer; a second one leaves
Anything else is a question; a line that begins with // is one that begins with a slash."""


@click.command("chat", short_help=COMMANDS["chat"])
@question_options
@server_options
@pass_run
def command(
    run: Run, /, attach: tuple[str, ...], approvals: bool | None, project: str, **options: Any
) -> None:
    """Talk with a project. Ctrl-C interrupts an answer, a second one leaves."""
    person = Person(run.output)
    try:
        chat = _Chat(run, Asker(run, person, approvals), project, options)
        chat.files = list(attach)
        if _is_live(run):
            run.output.join()
        chat.greet()
        for line in _lines(run):
            chat.take(line)
    except Left:
        run.output.note("left; the turn may go on: xo-cowork interrupt")
        run.status = exits.INTERRUPTED
    finally:
        person.close()


class _Chat:
    """A conversation: the next question's options and files."""

    def __init__(self, run: Run, asker: Asker, project: str, options: dict[str, Any]) -> None:
        self._run = run
        self._asker = asker
        self._project = project
        self._options = options
        self.files: list[str] = []

    def greet(self) -> None:
        """Say where one is; raises `CoworkError` where there is no server."""
        if not _is_live(self._run):
            return
        health = self._run.client.health()
        self._run.was_reached = True
        note = self._run.output.note
        note(f"project {clean(self._project)} at {self._run.client.url}   /help, Ctrl-D leaves")
        for reason in items(health, "reasons"):
            note(clean(str(reason)), style="yellow")

    def take(self, line: str) -> None:
        """One line: a question, or a word of this command's."""
        if not line.strip():
            return
        if line.startswith("/") and not line.startswith("//"):
            self._do(*line[1:].strip().partition(" ")[::2])
            return
        question = line[1:] if line.startswith("//") else line
        try:
            files = attached(tuple(self.files))
            self._ask(question, files)
            self.files = []
        except click.UsageError as fault:
            self._run.output.note(fault.message, style="red")
            self.files = []
        except CoworkError as fault:
            if not _is_live(self._run):
                raise
            if fault.code == "turn_interrupted":
                self._run.output.note("interrupted", style="yellow")
            else:
                self._run.tell(fault)

    def _ask(self, question: str, files: list[Any]) -> None:
        output = self._run.output
        screen: Screen
        if _is_live(self._run):
            screen = MarkdownScreen(output)
        else:
            screen = PlainScreen(output, as_it_comes=True, notes=output.err.is_terminal)
        more = {**self._options, "attachments": files}
        stream, failed = self._asker.ask(question, screen, project=self._project, **more)
        if failed is not None:
            raise failed
        if _is_live(self._run) and (said := foot(stream)):
            output.note(said, style="dim")

    def _do(self, word: str, rest: str) -> None:
        rest, note = rest.strip(), self._run.output.note
        if word in {"exit", "quit"}:
            raise click.exceptions.Exit(exits.DONE)
        if word == "attach" and rest:
            is_there = Path(rest).is_file()
            if is_there:
                self.files.append(rest)
            note(f"{rest} {'goes with the next question' if is_there else 'is no file'}")
        elif word == "model" or (word == "effort" and rest in {"", *EFFORTS}):
            self._options[word] = rest or None
            note(f"{word}: {rest or 'the usual one'}, from now on")
        else:
            note(HELP)


def _is_live(run: Run) -> bool:
    return sys.stdin.isatty() and run.output.out.is_terminal


def _lines(run: Run) -> Iterator[str]:
    """What is typed, or piped in."""
    if not _is_live(run):
        for line in sys.stdin:
            yield line.rstrip("\n")
        return
    with suppress(ImportError):
        import readline  # noqa: F401, PLC0415 - a line can be edited then, and the last one fetched
    while True:
        try:
            yield input(PROMPT)
        except EOFError:
            run.output.out.print()
            return
        except KeyboardInterrupt:
            run.output.note("\nCtrl-D leaves", style="dim")
