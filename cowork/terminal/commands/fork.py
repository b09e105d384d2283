"""`xo-cowork fork`: another project with what was said in one."""

from __future__ import annotations

import click

from cowork.terminal import COMMANDS
from cowork.terminal.run import Run, json_option, pass_run, server_options
from cowork.terminal.text import clean


@click.command("fork", short_help=COMMANDS["fork"])
@click.argument("project")
@click.argument("to")
@click.option("--at", "at_turn", help="The turn up to whose end; all of it without one.")
@json_option
@server_options
@pass_run
def command(run: Run, project: str, to: str, at_turn: str | None) -> None:
    """Begin the project TO with what was said in PROJECT, which stays as it is."""
    made = run.client.fork(project, to, at_turn=at_turn)
    if run.is_json:
        run.output.json(made)
    else:
        run.output.note(f"{clean(to)} goes on from {clean(project)}: xo-cowork chat -p {clean(to)}")
