"""`xo-cowork health`: each part of the server, what is wrong with it and what helps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from cowork.terminal import COMMANDS, exits
from cowork.terminal.facts import items, part
from cowork.terminal.figures import plural
from cowork.terminal.run import Run, json_option, pass_run, server_options
from cowork.terminal.text import clean

Part = tuple[str, bool | None, str]


@click.command("health", short_help=COMMANDS["health"])
@json_option
@server_options
@pass_run
def command(run: Run) -> None:
    """Tell each part of the server. Exit status 1 where a question would not be answered now."""
    health = run.client.health()
    if health.get("ready") is not True:
        run.status = exits.FAILED
    if run.is_json:
        run.output.json(health)
        return
    if not run.output.out.is_terminal:
        for name, is_well, said in _parts(health):
            run.output.write(f"{_mark(is_well).plain}  {name:<9}  {clean(said)}\n")
        return
    shown = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    shown.add_column(no_wrap=True)
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for name, is_well, said in _parts(health):
        shown.add_row(_mark(is_well), name, Text(clean(said)))
    run.output.out.print(shown)


def _mark(is_well: bool | None) -> Text:
    if is_well is None:
        return Text("·", "dim")
    return Text("✓", "green") if is_well else Text("✗", "red")


def _parts(health: Mapping[str, Any]) -> Iterator[Part]:
    claude, store, chat = (part(health, name) for name in ("claude", "store", "chat_api"))
    is_ready = health.get("ready") is True
    reasons = [str(each) for each in items(health, "reasons")]
    yield (
        "questions",
        is_ready,
        "are answered" if is_ready else "; ".join(reasons) or "not answered",
    )
    yield _cli(claude)
    yield _login(claude)
    yield "processes", None, _processes(health)
    kind = str(store.get("kind"))
    kept = "forgets everything at a restart" if kind == "memory" else "kept over restarts"
    yield (
        "store",
        store.get("ok") is True,
        f"{kind}, {kept}" if store.get("ok") else f"{kind}, unavailable; it is tried again",
    )
    yield _chat(chat)
    yield "server", None, f"version {health.get('version')}"


def _cli(claude: Mapping[str, Any]) -> Part:
    problem, path = claude.get("problem"), claude.get("path")
    if problem is not None or path is None:
        return "claude", None if problem is None else False, str(problem or "still looked at")
    return "claude", True, f"{claude.get('version') or 'version unknown'} at {path}"


def _login(claude: Mapping[str, Any]) -> Part:
    is_in = claude.get("logged_in")
    if is_in is None:
        return "login", None, "not known yet"
    if is_in:
        return "login", True, f"by {claude.get('auth_method') or 'a way unknown'}"
    return (
        "login",
        False,
        f"as the user who runs the server: {claude.get('path') or 'claude'} /login",
    )


def _processes(health: Mapping[str, Any]) -> str:
    processes = part(health, "processes")
    counts = ", ".join(f"{processes.get(name)} {name}" for name in ("busy", "idle", "spare"))
    turns = plural(health.get("turns"), "turn")
    return f"{counts}, {processes.get('limit')} at most; {turns}"


def _chat(chat: Mapping[str, Any]) -> Part:
    if not chat.get("enabled"):
        return "chat api", None, "not used"
    waits = f"{chat.get('pending')} wait, {chat.get('dead')} refused"
    if chat.get("wants_login"):
        return "chat api", False, f"wants a login; {waits}"
    if chat.get("reachable") is False:
        return "chat api", False, f"cannot be reached, it is tried again; {waits}"
    return "chat api", not chat.get("dead"), waits
