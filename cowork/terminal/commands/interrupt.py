"""`xo-cowork interrupt`: ends what a project is answering, or a turn."""

from __future__ import annotations

import click

from cowork.terminal import COMMANDS
from cowork.terminal.run import Run, json_option, pass_run, server_options
from cowork.terminal.text import clean


@click.command("interrupt", short_help=COMMANDS["interrupt"])
@click.argument("project", required=False)
@click.option("--turn", help="The turn, instead of whatever the PROJECT is answering.")
@json_option
@server_options
@pass_run
def command(run: Run, project: str | None, turn: str | None) -> None:
    """End what PROJECT is answering."""
    if (project is None) == (turn is None):
        raise click.UsageError("name a project, or a turn by --turn")
    if turn is not None:
        ended = run.client.interrupt(turn)
    else:
        ended = run.client.interrupt_project(project or "")
    if run.is_json:
        run.output.json(ended)
    elif ended.get("success") and ended.get("turn_id"):
        run.output.note(f"turn {clean(str(ended['turn_id']))}: {clean(str(ended.get('state')))}")
    else:
        run.output.note(clean(str(ended.get("message") or "nothing runs")))
