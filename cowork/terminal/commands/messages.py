"""`xo-cowork messages`: what was said in a project."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import click
from rich.markdown import Markdown
from rich.text import Text

from cowork.client import ToolResult
from cowork.terminal import COMMANDS
from cowork.terminal.facts import items
from cowork.terminal.figures import local
from cowork.terminal.run import Run, json_option, pass_run, server_options
from cowork.terminal.text import clean
from cowork.terminal.tools import call_line, result_lines


@click.command("messages", short_help=COMMANDS["messages"])
@click.argument("project")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    help="How many, the last ones.",
)
@json_option
@server_options
@pass_run
def command(run: Run, project: str, limit: int) -> None:
    """Show what was said in PROJECT, oldest first."""
    found = deque(run.client.messages(project, limit=200), maxlen=limit)
    if run.is_json:
        run.output.json({"messages": list(found), "count": len(found)})
        return
    for message in found:
        _show(run, message)


def _show(run: Run, message: Mapping[str, Any]) -> None:
    out = run.output.out
    who = "You" if message.get("role") == "user" else "Claude"
    colour = "bold green" if who == "You" else "bold cyan"
    when = local(message.get("created_at"))
    out.print(Text.assemble((who, colour), (f"  {when}" if when else "", "dim")))
    for part in items(message, "parts"):
        if isinstance(part, Mapping):
            _show_part(run, part, is_markdown=who == "Claude" and out.is_terminal)
    out.print()


def _show_part(run: Run, part: Mapping[str, Any], *, is_markdown: bool) -> None:
    out, kind = run.output.out, part.get("type")
    if kind in {"text", "summary"}:
        text = clean(str(part.get("text", "")))
        out.print(Markdown(text, hyperlinks=False) if is_markdown else Text(text))
    elif kind == "tool_use":
        given = part.get("input")
        out.print(
            call_line(str(part.get("name")), given if isinstance(given, Mapping) else {}, out.width)
        )
    elif kind == "tool_result":
        is_error = part.get("is_error") is True
        result = ToolResult(0, part, "", part.get("content"), is_error, None)
        for line in result_lines(result, out.width):
            out.print(line)
    elif kind in {"image", "document"}:
        out.print(
            Text(f"[{kind}] {clean(str(part.get('name') or part.get('media_type') or ''))}", "dim")
        )
