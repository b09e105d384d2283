"""One run of a command: its server, its output, and the options that say which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from cowork.client import Client, CoworkError, Lost, Unreachable
from cowork.terminal import exits
from cowork.terminal.output import Output
from cowork.terminal.text import clean

URL = "http://localhost:5002"
# The first try mostly finds the server again; said once.
SAID_AT = 2
Command = TypeVar("Command", bound=Callable[..., Any])


class Run:
    """What every command has; `close` ends its connections.

    `status` is the exit status of a command that got to its end.
    """

    def __init__(self) -> None:
        self.output = Output()
        self.status = exits.DONE
        self.url = URL
        self.key: str | None = None
        self.is_json = False
        self.typed: set[str] = set()
        # Whether the server has answered anything: one that never did is not waited for.
        self.was_reached = False
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The server's client.  Raises `click.UsageError` where address or key cannot be used."""
        if self._client is None:
            try:
                self._client = Client(self.url or URL, self.key or None)
            except ValueError as fault:
                raise click.UsageError(str(fault)) from None
        return self._client

    def close(self) -> None:
        """End the connections."""
        if self._client is not None:
            self._client.close()

    def tell(self, fault: CoworkError) -> None:
        """What went wrong and what helps, on standard error; to a program too, where one asked."""
        if self.is_json:
            self.output.json(exits.told(fault))
        self.output.note(f"error: {clean(fault.sentence)} ({clean(fault.code)})", style="red")
        if cure := exits.cure_of(fault):
            self.output.note(cure)

    def on_lost(self, lost: Lost) -> None:
        """Say that a connection is lost; raises where there never was a server."""
        fault = lost.error
        if isinstance(fault, Unreachable) and not fault.was_connected and not self.was_reached:
            raise fault
        if lost.attempt == SAID_AT:
            self.output.note("connection lost, trying again ...", style="dim")


pass_run = click.make_pass_decorator(Run)


def server_options(command: Command) -> Command:
    """`--url` and `--key`, which the `Run` keeps."""
    url = click.option(
        "--url",
        envvar="COWORK_URL",
        default=URL,
        show_default=True,
        show_envvar=True,
        expose_value=False,
        callback=_kept("url"),
        help="The server's address.",
    )
    key = click.option(
        "--key",
        envvar="COWORK_KEY",
        show_envvar=True,
        expose_value=False,
        callback=_kept("key"),
        help="The server's API key. `ps` shows it to everybody on this machine: use the variable.",
    )
    return url(key(command))


def json_option(command: Command) -> Command:
    """`--json`: for programs."""
    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_kept("is_json"),
        help="Print JSON, for programs.",
    )(command)


def _kept(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(context: click.Context, option: click.Parameter, value: Any) -> None:
        run = context.find_object(Run)
        is_typed = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        # `approvals --url URL allow ID`: what was typed before its command holds for that.
        if run is not None and (is_typed or name not in run.typed):
            setattr(run, name, value)
            run.typed |= {name} if is_typed else set()

    return keep
