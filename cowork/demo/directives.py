"""What a question can tell the demo model to do: ``[[name argument]]``, anywhere in it.

One table holds them all; ``python -m cowork.demo.model --help`` prints it.
A name that is not in the table is ordinary text, since people write ``[[`` for other reasons too.
A directive whose argument makes no sense is kept in ``Wanted.faults`` and said in the answer, so
that a test with a typing error does not pass by luck.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

ALWAYS = 1_000_000
"""More often than anything is asked."""

PLAN_FILE = "<the plan's file>"
"""In a tool's arguments: the file that the CLI has told the model to write its plan to."""

_LONGEST_S = 600


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool to call and what to hand it."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the directives of one question ask for."""

    words: int | None = None
    delay_ms: int | None = None
    say: str | None = None
    echo: bool = False
    count: bool = False
    big: int | None = None
    tools: tuple[ToolCall, ...] = ()
    then: tuple[ToolCall, ...] = ()
    """What to call when those have answered."""
    think: int = 0
    status: int | None = None
    status_times: int = 0
    """How many requests of the question fail with ``status``; ``ALWAYS`` is all."""
    retry_after_s: int | None = None
    hang_s: float = 0.0
    stall_s: float = 0.0
    cut_times: int = 0
    """How many streaming requests of the question are cut; ``ALWAYS`` is all."""
    poison: bool = False
    refuse: bool = False
    max_tokens: bool = False
    question: ToolCall | None = None
    """What to ask the user by a tool, where the CLI offers it; else ``say`` asks."""
    rest: str = ""
    """The question without its directives."""
    faults: tuple[str, ...] = field(default=())
    """Directives that could not be understood, each as a sentence."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One row of the table."""

    argument: str
    meaning: str
    apply: Callable[[Wanted, str], Wanted]


def _whole(text: str, *, least: int = 0, most: int) -> int:
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise ValueError(f"a whole number from {least} to {most} is needed")
    return int(text)


def _times(text: str) -> int:
    return _whole(text, least=1, most=ALWAYS) if text else ALWAYS


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) or float(text) > _LONGEST_S:
        raise ValueError(f"a number of seconds from 0 to {_LONGEST_S} is needed")
    return float(text)


def _status(wanted: Wanted, argument: str) -> Wanted:
    code, _, times = argument.partition(" ")
    status = _whole(code, least=400, most=599)
    return replace(
        wanted,
        status=status,
        status_times=_times(times.strip()),
    )


def _tool(wanted: Wanted, argument: str) -> Wanted:
    return replace(wanted, tools=(*wanted.tools, _call(argument)))


def _then(wanted: Wanted, argument: str) -> Wanted:
    return replace(wanted, then=(*wanted.then, _call(argument)))


def _call(argument: str) -> ToolCall:
    name, _, text = argument.partition(" ")
    try:
        arguments = json.loads(text)
    except ValueError:
        arguments = None
    if not name or not isinstance(arguments, dict):
        raise ValueError("a tool's name and a JSON object are needed")
    return ToolCall(name, arguments)


def _switch(**on: bool) -> Callable[[Wanted, str], Wanted]:
    """A directive without an argument."""

    def apply(wanted: Wanted, argument: str) -> Wanted:
        if argument:
            raise ValueError("it takes no argument")
        return replace(wanted, **on)  # type: ignore[arg-type]  # the names are this file's own

    return apply


TABLE: dict[str, Directive] = {
    "words": Directive(
        "N",
        "answer with N words: word1 word2 ...",
        lambda w, a: replace(w, words=_whole(a, most=1_000_000)),
    ),
    "say": Directive("TEXT", "answer exactly TEXT", lambda w, a: replace(w, say=a)),
    "echo": Directive("", "answer with the rest of the question", _switch(echo=True)),
    "count": Directive("", "answer with the questions in the context", _switch(count=True)),
    "big": Directive(
        "BYTES",
        "answer with that much text, 1 kB a delta, no delay",
        lambda w, a: replace(w, big=_whole(a, most=100_000_000)),
    ),
    "delay": Directive(
        "MS",
        "wait MS milliseconds between words",
        lambda w, a: replace(w, delay_ms=_whole(a, most=600_000)),
    ),
    "think": Directive(
        "N",
        "think N words first: thought1 thought2 ...",
        lambda w, a: replace(w, think=_whole(a, most=100_000)),
    ),
    "tool": Directive("NAME JSON", "call a tool, then quote its result (repeatable)", _tool),
    "then": Directive("NAME JSON", "call one more when all `tool`s have answered", _then),
    "stall": Directive(
        "S",
        "pause S seconds after three words",
        lambda w, a: replace(w, stall_s=_seconds(a)),
    ),
    "break": Directive(
        "[TIMES]",
        "cut the stream after three words, always or TIMES times",
        lambda w, a: replace(w, cut_times=_times(a)),
    ),
    "hang": Directive(
        "[S]",
        "send nothing for S seconds (600), then close",
        lambda w, a: replace(w, hang_s=_seconds(a) if a else _LONGEST_S),
    ),
    "status": Directive("CODE [TIMES]", "fail with an HTTP error, always or TIMES times", _status),
    "retry-after": Directive(
        "S",
        "add a Retry-After header to that error",
        lambda w, a: replace(w, retry_after_s=_whole(a, most=10_000_000)),
    ),
    "poison": Directive(
        "", "answer, and refuse every later question of the session (400)", _switch(poison=True)
    ),
    "refuse": Directive("", "end with stop_reason refusal", _switch(refuse=True)),
    "max_tokens": Directive(
        "", "stop half-way with stop_reason max_tokens, then go on", _switch(max_tokens=True)
    ),
}

_OPENING = re.compile(r"\[\[(" + "|".join(map(re.escape, TABLE)) + r")(?=[\s\]])")
# The last of several closing brackets closes, so that an argument may end with one.
_CLOSING = re.compile(r"\]\](?!\])")


def parse(question: str) -> Wanted:
    """Read the directives of a question.

    Of two that say the same thing the later one counts; tools add up.
    """
    wanted = Wanted()
    rest: list[str] = []
    at = 0
    while opening := _OPENING.search(question, at):
        start, end = opening.end(), _end(question, opening)
        if end is None:
            break
        rest.append(question[at : opening.start()])
        at = end
        name, argument = opening[1], question[start : end - 2].strip()
        try:
            wanted = TABLE[name].apply(wanted, argument)
        except ValueError as error:
            written = question[opening.start() : end]
            fault = f"I do not understand {written}: {error}."
            wanted = replace(wanted, faults=(*wanted.faults, fault))
    rest.append(question[at:])
    return replace(wanted, rest="".join(rest).strip())


def _end(question: str, opening: re.Match[str]) -> int | None:
    """Where the directive ends, or ``None`` when it never does."""
    start = opening.end()
    if opening[1] in ("tool", "then") and (after := _end_of_tool(question, start)):
        return after
    closing = _CLOSING.search(question, start)
    return closing.end() if closing else None


def _end_of_tool(question: str, start: int) -> int | None:
    """Where a well-formed tool directive ends: its JSON may hold closing brackets of its own."""
    head = re.compile(r"\s+\S+\s+(?=\{)").match(question, start)
    if head is None:
        return None
    try:
        _, after = json.JSONDecoder().raw_decode(question, head.end())
    except ValueError:
        return None
    closing = re.compile(r"\s*\]\]").match(question, after)
    return closing.end() if closing else None
