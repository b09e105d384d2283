"""What can be asked of the demo model in plain words: the same as by directives.

A question is understood as a whole or not at all, so that a word in an ordinary one means nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from cowork.demo.directives import ALWAYS, PLAN_FILE, ToolCall, Wanted

HELP = """\
I am a demo model: I cannot think, but everything between my words and you is real. Try, in your \
own words or in these:

- 2 + 2, or: what is 12 * (3 + 4)?
- my name is Ada - and later: what is my name?
- what did I ask before?
- list the files / read the file notes.txt / run date   (tools; ask for `"events": ["tool"]`)
- work for 20 seconds   (a tool that takes time, and asks first; say something meanwhile: steer it)
- write a file / change the file   (edits; they ask first)
- work through a list   (ask for `"events": ["todo"]`)
- ask a sub-agent   (ask for `"events": ["subagent"]`)
- make a plan   (it waits until you approve it)
- think about the sea   (ask for `"events": ["thinking"]`)
- write 300 words   (a long answer; interrupt it)
- be silent for 10 seconds   (keep-alives)
- fail / fail with 429   (errors)
- ask me a question
- send me an image, and I tell its size and colour

A directive such as [[words 50]] or [[status 529]] says the same exactly: see docs/demo.md."""

_TEXT = (
    "Words come one after the other, as a river comes: first a few, then more, and each of them "
    "passes the model, the command line, the server and the wire before it is here. Nothing of "
    "this means anything, but every word of it was streamed."
)
_FILLER = _TEXT.split()
_LONG = 200
_MOST_WORDS = 5000
_MOST_SECONDS = 60
_THOUGHTS = 16
_QUESTION = {
    "question": "Which colour do you like best?",
    "header": "Colour",
    "options": [
        {"label": "Red", "description": "Like a fire engine"},
        {"label": "Green", "description": "Like a meadow"},
        {"label": "Blue", "description": "Like the sea"},
    ],
    "multiSelect": False,
}
ASKED = f"{_QUESTION['question']} Red, green or blue? Say it as your next question."
_FILE = "greeting.py"
_BEFORE = (
    "def greet(name):\n"
    '    """Say hello."""\n'
    '    return "Hello, " + name\n'
    "\n\n"
    'if __name__ == "__main__":\n'
    '    print(greet("world"))\n'
)
_OLD = '    """Say hello."""\n    return "Hello, " + name\n'
_NEW = '    """Say a friendly hello."""\n    return f"Hello, {name}!"\n'
_STEPS = ("Look at the files", "Write the greeting", "Try it out", "Say what was done")
_PLAN = """\
# A friendlier greeting

1. Read `greeting.py` and see who calls it.
2. Have `greet` use an f-string, and end with an exclamation mark.
3. Run it once, and say what it prints.

Nothing else is touched, and no test has to change."""
_POLITE = r"(?:please |can you |could you |will you |now )*"


def _bash(command: str, description: str) -> ToolCall:
    return ToolCall("Bash", {"command": command, "description": description})


def _list(wanted: Wanted, _: re.Match[str]) -> Wanted:
    return replace(wanted, tools=(_bash("ls -la", "List files"),))


def _read(wanted: Wanted, found: re.Match[str]) -> Wanted:
    return replace(wanted, tools=(_bash(f"cat {found['name']}", "Read a file"),))


def _run(wanted: Wanted, found: re.Match[str]) -> Wanted:
    return replace(wanted, tools=(_bash(found["command"], "Run what was asked for"),))


def _write_file(wanted: Wanted, _: re.Match[str]) -> Wanted:
    return replace(
        wanted,
        tools=(ToolCall("Write", {"file_path": _FILE, "content": _BEFORE}),),
        say=f"I have written `{_FILE}`. Ask me to change the file.",
    )


def _change_file(wanted: Wanted, _: re.Match[str]) -> Wanted:
    edit = {"file_path": _FILE, "old_string": _OLD, "new_string": _NEW}
    return replace(
        wanted, tools=(ToolCall("Read", {"file_path": _FILE}),), then=(ToolCall("Edit", edit),)
    )


def _list_work(wanted: Wanted, _: re.Match[str]) -> Wanted:
    told = _write_words(120)
    return replace(wanted, tools=(_todos(1),), then=(_todos(2),), say=told)


def _todos(at: int) -> ToolCall:
    """The list with so many done, and the next one begun."""
    states = ("completed",) * at + ("in_progress",) + ("pending",) * len(_STEPS)
    items = [
        {"content": step, "status": state, "activeForm": step}
        for step, state in zip(_STEPS, states, strict=False)
    ]
    return ToolCall("TodoWrite", {"todos": items})


def _delegate(wanted: Wanted, _: re.Match[str]) -> Wanted:
    task = {
        "description": "Look at the files",
        "prompt": "list the files",
        "subagent_type": "general-purpose",
    }
    return replace(
        wanted,
        tools=(ToolCall("Task", task),),
        say="The sub-agent has looked at the files and is done.",
    )


def _plan(wanted: Wanted, _: re.Match[str]) -> Wanted:
    return replace(
        wanted,
        tools=(ToolCall("EnterPlanMode", {}),),
        then=(
            ToolCall("Write", {"file_path": PLAN_FILE, "content": _PLAN}),
            ToolCall("ExitPlanMode", {}),
        ),
        say="That was the plan, and you have decided. I cannot carry anything out.",
    )


def _work(wanted: Wanted, found: re.Match[str]) -> Wanted:
    seconds = min(int(found["time"] or 10), _MOST_SECONDS)
    # Not a `sleep`: the CLI refuses one that stands alone.
    command = f"python3 -c 'import time; time.sleep({seconds})'"
    return replace(wanted, tools=(_bash(command, f"Work for {seconds} seconds"),))


def _think(wanted: Wanted, found: re.Match[str]) -> Wanted:
    topic = found["topic"] or "nothing in particular"
    said = f"I have thought about {topic}, in {_THOUGHTS} words, and come to no conclusion."
    return replace(wanted, think=_THOUGHTS, say=said)


def _write(wanted: Wanted, found: re.Match[str]) -> Wanted:
    count = min(int(found["count"] or found["length"] or _LONG), _MOST_WORDS)
    return replace(wanted, say=_write_words(count))


def _write_words(count: int) -> str:
    return " ".join((_FILLER * (count // len(_FILLER) + 1))[:count])


def _be_silent(wanted: Wanted, found: re.Match[str]) -> Wanted:
    seconds = min(float(found["seconds"] or 5), float(_MOST_SECONDS))
    said = f"I shall be silent for {seconds:g} seconds ... and here I am again."
    return replace(wanted, stall_s=seconds, say=said)


def _fail(wanted: Wanted, found: re.Match[str]) -> Wanted:
    status = int(found["status"] or 500)
    after = 5 if status == 429 else None  # noqa: PLR2004 - a rate limit says when to come back
    return replace(wanted, status=status, status_times=ALWAYS, retry_after_s=after)


def _help(wanted: Wanted, _: re.Match[str]) -> Wanted:
    return replace(wanted, say=HELP)


def _ask(wanted: Wanted, _: re.Match[str]) -> Wanted:
    return replace(
        wanted, say=ASKED, question=ToolCall("AskUserQuestion", {"questions": [_QUESTION]})
    )


_TABLE: tuple[tuple[str, Callable[[Wanted, re.Match[str]], Wanted]], ...] = (
    (
        (
            r"help( me)?|what (can|do) (you|i) (do|ask|understand)( you)?( here| for me)?"
            r"|show me what you can do|examples?|commands?|what now"
        ),
        _help,
    ),
    (r"(list|show)( me)?( all)?( the| your| my)? files( here)?|what files are (there|here)", _list),
    (r"(read|show|open|print)( me)?( the)? file (?P<name>[\w][\w./-]{0,200})", _read),
    (r"(run|execute)( the command)? `?(?P<command>[^`\n]{1,300}?)`?", _run),
    (r"(write|create|make)( me)? a( new)? file", _write_file),
    (r"(change|edit)( the| that| this| a)? file", _change_file),
    (r"(work through|make|write)( me)? a( todo| to-do)? list", _list_work),
    (r"(ask|use|start|send)( me)? a sub-?agent", _delegate),
    (r"(make|write)( me)? a plan( first)?", _plan),
    (r"work( hard)?( for( about)? (?P<time>\d{1,4}) ?(s|secs?|seconds?))?", _work),
    (r"think( hard)?( (about|of|over) (?P<topic>.{1,200}?))?", _think),
    (
        (
            r"(write|tell|say)( me)?( a)? ((?P<count>\d{1,6}) words?"
            r"|(long |very long )?(answer|story|poem|text|essay)( of (?P<length>\d{1,6}) words)?)"
            r"( about .{1,200})?"
        ),
        _write,
    ),
    (
        (
            r"(be silent|be quiet|pause|wait|say nothing|sleep)"
            r"( for( about)? (?P<seconds>\d{1,4}(\.\d)?) ?(s|secs?|seconds?))?( please)?"
        ),
        _be_silent,
    ),
    (
        r"(fail|break|crash|make an error)( with( status| an?)?( error)? (?P<status>[45]\d\d))?",
        _fail,
    ),
    (r"ask me (a|any|some) question|ask me something", _ask),
)
_PATTERNS = tuple(
    (re.compile(rf"\s*{_POLITE}(?:{pattern})\s*[.!?]*\s*", re.IGNORECASE), apply)
    for pattern, apply in _TABLE
)


def understood(wanted: Wanted) -> Wanted:
    """The same with what its `rest` asks for, if that is all that it asks for."""
    if wanted != Wanted(rest=wanted.rest, delay_ms=wanted.delay_ms):
        return wanted
    for pattern, apply in _PATTERNS:
        found = pattern.fullmatch(wanted.rest)
        if found is not None:
            return apply(wanted, found)
    return wanted
