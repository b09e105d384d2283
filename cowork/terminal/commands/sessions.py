"""`xo-cowork sessions`: the sessions, those used last first."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import click

from cowork.terminal import COMMANDS
from cowork.terminal.figures import ago, money
from cowork.terminal.run import Run, json_option, pass_run, server_options
from cowork.terminal.table import table
from cowork.terminal.text import one_line

_COLUMNS = ["project", "state", "used", "cost", "turns"]
_COLOURS = {"running": "yellow", "waiting": "bold yellow"}


@click.command("sessions", short_help=COMMANDS["sessions"])
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
@server_options
@pass_run
def command(run: Run, limit: int) -> None:
    """List the sessions, those used last first."""
    found = list(islice(run.client.sessions(limit=min(limit, 200)), limit))
    if run.is_json:
        run.output.json({"sessions": found, "count": len(found)})
        return
    if not found:
        run.output.note('no sessions yet; this begins one: xo-cowork ask "Hello"')
        return
    rows = [_row(each) for each in found]
    columns = [*_COLUMNS, *(["title"] if any(row["title"] for row in rows) else [])]
    out = run.output.out
    out.print(table(columns, rows, out.width, right=("turns", "cost"), colours=_COLOURS))


def _row(session: Mapping[str, Any]) -> dict[str, str]:
    return {
        "project": one_line(str(session.get("project_id"))),
        "state": one_line(str(session.get("state"))),
        "turns": str(session.get("turns")),
        "cost": money(session.get("total_cost_usd")),
        "used": ago(session.get("last_used_at")),
        "title": one_line(str(session.get("title") or ""), 30),
    }
