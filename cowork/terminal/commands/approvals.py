"""`xo-cowork approvals`: what waits for somebody, and the answer to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click
from rich.text import Text

from cowork.terminal import COMMANDS
from cowork.terminal.figures import clock, seconds_until
from cowork.terminal.run import Run, json_option, pass_run, server_options
from cowork.terminal.text import clean, one_line
from cowork.terminal.tools import whole_call


@click.group("approvals", short_help=COMMANDS["approvals"], invoke_without_command=True)
@click.option("-p", "--project", help="Those of a project alone.")
@click.option("--resolved", is_flag=True, help="What was decided, instead of what waits.")
@json_option
@server_options
@pass_run
@click.pass_context
def command(context: click.Context, run: Run, project: str | None, resolved: bool) -> None:
    """List what waits for somebody to allow it; the commands below answer."""
    if context.invoked_subcommand is not None:
        return
    found = run.client.approvals(project=project, state="resolved" if resolved else "pending")
    if run.is_json:
        run.output.json({"approvals": found, "count": len(found)})
    elif not found:
        run.output.note("nothing was decided yet" if resolved else "nothing waits")
    for each in found if not run.is_json else ():
        _show(run, each)
    if found and not resolved and run.output.out.is_terminal:
        run.output.note("xo-cowork approvals allow ID, or deny ID", style="dim")


@command.command("allow")
@click.argument("approval")
@click.option("--session", is_flag=True, help="For its session too: the CLI's own suggestion.")
@click.option("--input", "changed", help="Run it with this input instead, a JSON object.")
@json_option
@server_options
@pass_run
def allow(run: Run, approval: str, session: bool, changed: str | None) -> None:
    """Allow the tool or the plan of APPROVAL."""
    remember = "session" if session else None
    given = None if changed is None else _object(changed, "--input")
    _answered(run, run.client.resolve(approval, "allow", remember=remember, input=given))


@command.command("deny")
@click.argument("approval")
@click.option("-m", "--message", help="What the model is told.")
@click.option("--interrupt", is_flag=True, help="End the turn, too.")
@json_option
@server_options
@pass_run
def deny(run: Run, approval: str, message: str | None, interrupt: bool) -> None:
    """Deny APPROVAL."""
    said = run.client.resolve(approval, "deny", message=message, interrupt=interrupt or None)
    _answered(run, said)


@command.command("answer")
@click.argument("approval")
@click.argument("answers", nargs=-1, required=True, metavar="QUESTION=ANSWER...")
@json_option
@server_options
@pass_run
def answer(run: Run, approval: str, answers: tuple[str, ...]) -> None:
    """Answer the model's questions of APPROVAL."""
    pairs = [each.partition("=") for each in answers]
    if not all(sign for _, sign, _ in pairs):
        raise click.UsageError("expected QUESTION=ANSWER")
    given = {question: said for question, _, said in pairs}
    _answered(run, run.client.resolve(approval, "answer", answers=given))


def _object(text: str, name: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise click.UsageError(f"{name} is no JSON object")
    return found


def _answered(run: Run, said: Mapping[str, Any]) -> None:
    if run.is_json:
        run.output.json(said)
    else:
        run.output.note(f"{clean(str(said.get('decision')))}: {clean(str(said.get('tool')))}")


def _show(run: Run, each: Mapping[str, Any]) -> None:
    out = run.output.out
    left = seconds_until(each.get("expires_at"))
    is_pending = each.get("state") == "pending"
    how = (
        f"{clock(left or 0)} left"
        if is_pending
        else f"{each.get('decision')} by {each.get('decided_by')}"
    )
    project = one_line(str(each.get("project_id") or "(without a name)"))
    head = (project, "bold"), (f"  {one_line(how)}", "dim")
    out.print(Text(clean(str(each.get("id"))), "yellow"))
    out.print(Text.assemble("  ", *head))
    given = each.get("input")
    if isinstance(given, Mapping) and is_pending:
        for text in whole_call(str(each.get("tool")), given):
            for line in text.split("\n"):
                out.print(Text("  ").append_text(line))
    else:
        out.print(Text(f"  {clean(str(each.get('tool')))}"))
