"""`xo-cowork ask`: a question, for people and for scripts."""

from __future__ import annotations

from typing import Any

import click

from cowork.terminal import COMMANDS, exits
from cowork.terminal.asking import Asker, question_options
from cowork.terminal.files import attached, from_pipe, piped, question_from_pipe
from cowork.terminal.follow import Left, Screen
from cowork.terminal.person import Person
from cowork.terminal.run import Run, json_option, pass_run, server_options
from cowork.terminal.screens import JsonScreen, PlainScreen, SilentScreen, foot, whole


@click.command(
    "ask",
    short_help=COMMANDS["ask"],
    epilog="Exit status: 0 answered, 1 failed, 2 usage, 3 server unreachable, 4 key, 5 later, "
    "6 not found, 130 interrupted.",
)
@click.argument("words", nargs=-1, metavar="[QUESTION]")
@question_options
@click.option(
    "--stream/--no-stream",
    "is_streamed",
    default=None,
    help="Print the answer as it comes, or when it is whole. On a terminal it comes.",
)
@click.option("-q", "--quiet", is_flag=True, help="Nothing on standard error but errors.")
@json_option
@server_options
@pass_run
def command(  # noqa: PLR0917 - click gives them by name
    run: Run,
    /,
    words: tuple[str, ...],
    attach: tuple[str, ...],
    approvals: bool | None,
    is_streamed: bool | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Ask QUESTION, or what comes on standard input.

    What comes on standard input beside a QUESTION is attached to it. The answer goes to standard
    output and everything else to standard error.
    """
    files, question = attached(attach), " ".join(words)
    if not question.strip():
        question = question_from_pipe()
    else:
        files += piped(from_pipe(run.output))
    as_it_comes = run.output.out.is_terminal if is_streamed is None else is_streamed
    if run.is_json and is_streamed is None:
        as_it_comes = False
    person = Person(run.output)
    try:
        asker = Asker(run, person, approvals)
        screen = _screen(run, as_it_comes=as_it_comes, quiet=quiet)
        stream, failed = asker.ask(question, screen, attachments=files, **options)
        if failed is not None:
            raise failed
        if run.is_json and not as_it_comes:
            run.output.json(whole(stream, options["project"]))
        if not quiet and run.output.err.is_terminal and (said := foot(stream)):
            run.output.note(said, style="dim")
    except Left:
        run.output.note("left; the turn may go on: xo-cowork interrupt")
        run.status = exits.INTERRUPTED
    finally:
        person.close()


def _screen(run: Run, *, as_it_comes: bool, quiet: bool) -> Screen:
    if run.is_json:
        return JsonScreen(run.output) if as_it_comes else SilentScreen()
    notes = run.output.err.is_terminal and not quiet
    return PlainScreen(run.output, as_it_comes=as_it_comes, notes=notes)
