"""`xo-cowork top`: the CLI processes, live."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from cowork.client import CoworkError
from cowork.terminal import COMMANDS
from cowork.terminal.facts import number, part
from cowork.terminal.figures import plural, size, span
from cowork.terminal.run import Run, json_option, pass_run, server_options
from cowork.terminal.table import table
from cowork.terminal.text import clean, one_line

_ORDER = ("busy", "starting", "ending", "idle", "spare")
_COLOURS = {"busy": "yellow", "starting": "cyan", "ending": "dim", "idle": "green", "spare": "dim"}


@click.command("top", short_help=COMMANDS["top"])
@click.option(
    "--interval",
    type=click.FloatRange(0.5, 3600),
    default=2.0,
    show_default=True,
    help="Seconds from one look to the next.",
)
@click.option("--once", is_flag=True, help="Look once. In a pipe, and with --json, always.")
@json_option
@server_options
@pass_run
def command(run: Run, interval: float, once: bool) -> None:
    """Watch the CLI processes, until Ctrl-C."""
    if run.is_json:
        found = run.client.processes()
        run.output.json({"processes": found, "count": len(found)})
        return
    out = run.output.out
    if once or not out.is_terminal:
        out.print(_seen(run))
        return
    first = _seen(run)
    try:
        with Live(first, console=out, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(interval)
                live.update(_seen_again(run), refresh=True)
    except KeyboardInterrupt:
        return


def _seen_again(run: Run) -> RenderableType:
    try:
        return _seen(run)
    except CoworkError as fault:
        if not fault.is_passing:
            raise
        return Text(f"{clean(fault.sentence)}; trying again ...", "red")


def _seen(run: Run) -> RenderableType:
    health, processes = run.client.health(), run.client.processes()
    processes.sort(key=_place)
    columns = ["project", "state", "memory", "age", "turns", "pid"]
    rows, width = [_row(each) for each in processes], run.output.out.width
    shown = table(columns, rows, width, right=columns[2:], colours=_COLOURS)
    return Group(_head(run, health), Text(), shown)


def _place(process: Mapping[str, Any]) -> tuple[int, str]:
    state = str(process.get("state"))
    place = _ORDER.index(state) if state in _ORDER else len(_ORDER)
    return place, str(process.get("project"))


def _row(process: Mapping[str, Any]) -> dict[str, str]:
    project = process.get("project")
    nobody = "(without a name)" if process.get("unnamed") else "(nobody's yet)"
    return {
        "project": one_line(str(project)) if project is not None else nobody,
        "state": one_line(str(process.get("state"))),
        "pid": str(process.get("pid")),
        "age": span(number(process.get("age_seconds")) or 0.0),
        "turns": str(process.get("turns")),
        "memory": size(process.get("memory_bytes")),
    }


def _head(run: Run, health: Mapping[str, Any]) -> Text:
    processes = part(health, "processes")
    is_ready = health.get("ready") is True
    counts = ", ".join(f"{processes.get(name)} {name}" for name in ("busy", "idle", "spare"))
    return Text.assemble(
        (run.client.url, "bold"),
        "  ",
        ("ready" if is_ready else "not ready", "green" if is_ready else "red"),
        f"  {plural(health.get('turns'), 'turn')}\n",
        f"{counts}, {processes.get('limit')} at most",
    )
