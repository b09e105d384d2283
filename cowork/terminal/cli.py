"""The command line: finds the command, and turns whatever happens into an exit status."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click
from click.shell_completion import CompletionItem

from cowork.client import CoworkError
from cowork.terminal import COMMANDS, COMPLETE, exits
from cowork.terminal.run import Run

NAME = "xo-cowork"
# Those of `cowork/__main__.py`, for the shell's completion alone.
SERVER_WORDS = {
    "serve": "run the server",
    "demo": "run it on a demo model",
    "key": "print a new API key",
    "backup": "copy everything that a server keeps",
    "restore": "put a backup where the settings say",
    "doctor": "say what is wrong with this set-up",
}


class _Commands(click.Group):
    """Imports a command when it is asked for: `interrupt` starts without what `chat` draws with."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = import_module(f"cowork.terminal.commands.{cmd_name}").command
        return found

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        words = {**SERVER_WORDS, **COMMANDS}.items()
        return [
            CompletionItem(word, help=said) for word, said in words if word.startswith(incomplete)
        ]


group = _Commands(name=NAME, context_settings={"help_option_names": ["-h", "--help"]})


def _do(arguments: list[str], run: Run) -> None:
    if COMPLETE in os.environ:
        group.main(arguments, prog_name=NAME)  # which exits
    # Not by `main`, which takes a pipe that nobody reads for a failure.
    with group.make_context(NAME, arguments, obj=run) as context:
        group.invoke(context)


def main(arguments: Sequence[str]) -> int:
    """Do what the first word says; the exit status."""
    if isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # half a character of a server's is no reason to end
        sys.stdout.reconfigure(errors="replace")
    run = Run()
    try:
        _do(list(arguments), run)
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as fault:
        fault.show()
        return exits.USAGE
    except CoworkError as fault:
        run.tell(fault)
        return exits.status_of(fault)
    except (KeyboardInterrupt, click.Abort):
        run.output.end_line()
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more; what is left to be flushed has to go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.BROKEN_PIPE
    finally:
        run.close()
    return run.status
