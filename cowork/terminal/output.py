"""Standard output and standard error, as this command uses them.

Standard output has what was asked for, standard error everything else.  On a terminal no character
of others' gets through that is not to be seen (`text.py`); in a pipe standard output is exact.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from cowork.terminal.text import clean

# Lines of a pipe are not cut nor wrapped.
PIPE_WIDTH = 10_000


class SafeConsole(Console):
    """A console that prints nothing of others' but text, whatever it renders.

    Markdown may hold a control character that its source does not (a percent sign and two digits
    in a link), so this looks at what is printed.  Control sequences are rich's own, and links are
    shown and not made: a terminal hides where they lead.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """What rich renders, cleaned."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
                continue
            style = segment.style
            if style is not None and style.link:
                style = style.update_link(None)
            yield Segment(clean(segment.text), style)


def _console(*, stderr: bool) -> SafeConsole:
    made = SafeConsole(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not made.is_terminal:
        made.width = PIPE_WIDTH
    return made


class Output:
    """Where a command prints."""

    def __init__(self) -> None:
        self.out = _console(stderr=False)
        self.err = _console(stderr=True)
        # Whether a line of the answer is begun, which what comes on standard error would run into.
        self._in_line = False
        self._is_noted = False

    def join(self) -> None:
        """Let notes go where the answer is drawn: two consoles would draw over each other."""
        self.err = self.out

    def write(self, text: str) -> None:
        """A piece of the answer, as it comes."""
        if self._is_noted and text.startswith("\n"):  # a note has ended the line already
            text = "\n" + text.lstrip("\n") if text.strip("\n") else ""
        if not text:
            return
        self._is_noted = False
        sys.stdout.write(clean(text) if self.out.is_terminal else text)
        sys.stdout.flush()
        self._in_line = not text.endswith("\n")

    def end_line(self) -> None:
        """Begin a line, unless one has just begun."""
        if self._in_line:
            sys.stdout.write("\n")
            sys.stdout.flush()
        self._in_line = False

    def note(self, *shown: RenderableType, style: str | None = None) -> None:
        """Lines for the person, on standard error."""
        if self.out.is_terminal:
            self.end_line()
            self._is_noted = True
        self.err.print(*shown, style=style)

    def json(self, value: Any) -> None:
        """A value for a program, in a line; ASCII, so harmless anywhere."""
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()
