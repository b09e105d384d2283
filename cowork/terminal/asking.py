"""What `ask` and `chat` have in common: the options of a question, and asking it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import click

from cowork.client import EventKind, InvalidRequest, Options, Stream, TurnFailed
from cowork.terminal.decide import Decider
from cowork.terminal.follow import Screen, follow
from cowork.terminal.person import Person
from cowork.terminal.run import Run

PROJECT = "default"
EVENTS: list[EventKind] = ["tool", "status", "approval"]
EFFORTS = ["low", "medium", "high", "xhigh", "max"]
Command = TypeVar("Command", bound=Callable[..., Any])


def question_options(command: Command) -> Command:
    """`--project`, `--model` and so on, which `ask` and `chat` have."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option(
        "-p",
        "--project",
        default=PROJECT,
        show_default=True,
        help="The project: a conversation goes on under its name.",
    ),
    click.option("--model", help="The model, for this question."),
    click.option("--effort", type=click.Choice(EFFORTS), help="How hard it thinks."),
    click.option(
        "--mode",
        "permission_mode",
        type=click.Choice(["plan", "default", "acceptEdits"]),
        help="What it may do without asking.",
    ),
    click.option(
        "--attach",
        type=click.Path(exists=True, dir_okay=False),
        multiple=True,
        help="A file to send along: image, pdf or text.",
    ),
    click.option(
        "--approvals/--no-approvals",
        default=None,
        help="Whether its tools may ask you; on a terminal they do.",
    ),
)


class Asker:
    """Asks questions and has them followed; knows whether the server lets anybody be asked."""

    def __init__(self, run: Run, person: Person, approvals: bool | None) -> None:
        """`approvals` is what the person wants: None is, where somebody is there to be asked."""
        self._run = run
        self._decider = Decider(run.client, person, run.output) if person.is_there else None
        self._approvals = person.is_there if approvals is None else approvals
        self._may_do_without = approvals is None

    def ask(
        self, question: str, screen: Screen, *, project: str, **options: Any
    ) -> tuple[Stream, TurnFailed | None]:
        """Ask, and follow the answer to its end: its stream, and what it failed with if it did.

        Raises `CoworkError`, `Left`.
        """
        given = {"events": EVENTS, **{name: value for name, value in options.items() if value}}
        if self._approvals:
            given["approvals"] = True
        stream = self._run.client.stream(
            question,
            project=project,
            on_lost=self._run.on_lost,
            **cast("Options", given),
        )
        try:
            with stream:
                return stream, follow(self._run, stream, screen, self._decider)
        except InvalidRequest as fault:
            if not (self._approvals and self._may_do_without and "approvals" in fault.faults):
                raise
        self._approvals = False  # COWORK_APPROVALS=off: nothing has been asked yet
        return self.ask(question, screen, project=project, **options)
