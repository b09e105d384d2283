"""Asks a person for what a turn waits for: a tool, a question of the model's, a plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click
from rich.text import Text

from cowork.client import ApprovalRequested, Client, CoworkError, InvalidRequest
from cowork.terminal.facts import items
from cowork.terminal.figures import clock, seconds_until
from cowork.terminal.output import Output
from cowork.terminal.person import Person
from cowork.terminal.text import clean
from cowork.terminal.tools import described, whole_call

# The whole of it is shown when it is asked for; nobody allows what has scrolled by.
SHOWN_LINES = 60
_WANTS = {
    "Run": "run a command",
    "Edit": "edit a file",
    "Write": "write a file",
    "Read": "read a file",
    "Fetch": "read a page",
}


class Decider:
    """Asks, and passes the answer on.  Who presses Ctrl-C answers nothing."""

    def __init__(self, client: Client, person: Person, output: Output) -> None:
        self._client = client
        self._person = person
        self._output = output

    def decide(self, asked: ApprovalRequested) -> None:
        """Ask until there is an answer, or somebody else has given one."""
        self._output.note()
        while (answer := self._answer(asked)) is None:
            pass
        try:
            self._client.resolve(asked.id, **answer)
        except CoworkError as fault:
            # Else somebody else was first, it is too late, or this key may not.
            is_asked_again = fault.is_passing or isinstance(fault, InvalidRequest)
            self._output.note(clean(fault.sentence), style="yellow")
            if is_asked_again:
                self.decide(asked)

    def _answer(self, asked: ApprovalRequested) -> dict[str, Any] | None:
        if asked.kind == "question":
            return self._question(asked)
        if asked.kind == "plan":
            return self._plan(asked)
        return self._tool(asked)

    def _tool(self, asked: ApprovalRequested) -> dict[str, Any] | None:
        word, _ = described(asked.tool, asked.input)
        self._title(f"Claude wants to {_WANTS.get(word, f'use {word}')}", asked)
        if asked.reason:
            self._output.note(clean(asked.reason), style="dim")
        lines = [line for text in whole_call(asked.tool, asked.input) for line in text.split("\n")]
        is_cut = len(lines) > SHOWN_LINES
        self._show(lines[:SHOWN_LINES])
        if is_cut:
            self._output.note(
                f"... {len(lines) - SHOWN_LINES} more lines: [w]hole shows them", style="yellow"
            )
        words = ["yes", "no", *(["session"] if asked.suggestions else []), "edit"]
        chosen = self._choose([*words, "whole"] if is_cut else words)
        if chosen == "w":
            self._show(lines)
            chosen = self._choose(words)
        if chosen == "e":
            return self._edited(asked)
        if chosen == "s":
            return {"decision": "allow", "remember": "session"}
        return {"decision": "allow"} if chosen == "y" else self._denial()

    def _edited(self, asked: ApprovalRequested) -> dict[str, Any] | None:
        """With the person's own input; None where they left it as it was."""
        is_command = asked.tool == "Bash"
        given = dict(asked.input)
        before = str(given.get("command", "")) if is_command else json.dumps(given, indent=2)
        after = click.edit(before, extension=".sh" if is_command else ".json")
        if after is None:
            self._output.note("nothing was changed", style="dim")
            return None
        try:
            changed = {**given, "command": after.rstrip("\n")} if is_command else json.loads(after)
        except ValueError as fault:
            self._output.note(f"that is no JSON: {fault}", style="red")
            return None
        return {"decision": "allow", "input": changed}

    def _plan(self, asked: ApprovalRequested) -> dict[str, Any]:
        self._title("Claude has a plan", asked)
        from rich.markdown import Markdown  # noqa: PLC0415 - slow, and seldom wanted

        self._output.note(Markdown(clean(asked.plan or ""), hyperlinks=False))
        chosen = self._choose(["yes", "edits unasked", "no"])
        if chosen == "n":
            return self._denial()
        return {
            "decision": "allow",
            **({"permission_mode": "acceptEdits"} if chosen == "e" else {}),
        }

    def _question(self, asked: ApprovalRequested) -> dict[str, Any]:
        self._title("Claude asks you", asked)
        answers = {}
        for question in asked.questions:
            self._output.note(clean(str(question.get("question", ""))), style="bold")
            options = [each for each in items(question, "options") if isinstance(each, Mapping)]
            for number, option in enumerate(options, 1):
                said = Text.assemble((f"  {number} ", "cyan"), clean(str(option.get("label", ""))))
                if option.get("description"):
                    said.append(f"  {clean(str(option['description']))}", "dim")
                self._output.note(said)
            labels = [str(option.get("label", "")) for option in options]
            is_many = bool(question.get("multiSelect"))
            answer = self._reply(labels, is_many=is_many)
            if answer is None:
                return self._denial()
            answers[str(question.get("question", ""))] = answer
        return {"decision": "answer", "answers": answers}

    def _reply(self, labels: list[str], *, is_many: bool) -> str | list[str] | None:
        """The options of the numbers that were typed, or the words; None for nothing."""
        said = self._person.ask(
            "Numbers, or your words: " if is_many else "Number, or your words: "
        )
        words = [word.strip() for word in said.split(",")] if is_many else [said.strip()]
        chosen = [
            labels[int(word) - 1] if word.isdecimal() and 0 < int(word) <= len(labels) else word
            for word in words
            if word
        ]
        if not chosen:
            return None
        return chosen if is_many else chosen[0]

    def _denial(self) -> dict[str, Any]:
        words = self._person.ask("What should it do instead? (may stay empty) ").strip()
        return {"decision": "deny", "message": words or None}

    def _choose(self, words: list[str]) -> str:
        """The letter that one of them begins with; whatever else is typed is asked for again."""
        prompt = "  ".join(f"[{word[0]}]{word[1:]}" for word in words)
        while True:
            said = self._person.ask(f"{prompt}: ").strip().lower()
            if any(said in {word[0], word} for word in words):
                return said[0]

    def _title(self, title: str, asked: ApprovalRequested) -> None:
        left = seconds_until(asked.expires_at)
        time_left = "" if left is None else f"  ({clock(left)} left)"
        self._output.note(Text.assemble((title, "bold yellow"), (time_left, "dim")))

    def _show(self, lines: list[Text]) -> None:
        for line in lines:
            self._output.note(Text("  ").append_text(line))
