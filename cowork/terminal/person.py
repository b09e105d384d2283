"""The person at the terminal, who is asked while standard input may be a file."""

from __future__ import annotations

import sys
import termios
from contextlib import suppress
from typing import Any, TextIO

from cowork.terminal.output import Output

TERMINAL = "/dev/tty"
# In what `tcgetattr` gives.
_LOCAL_MODES = 3


class Hush:
    """While something is drawn, what is typed is not shown: it waits for the next prompt."""

    def __init__(self) -> None:
        self._before: list[Any] | None = None

    def begin(self) -> None:
        """Show nothing of what is typed."""
        with suppress(termios.error, ValueError, OSError):
            number = sys.stdin.fileno()
            before = termios.tcgetattr(number)
            hushed = [*before]
            hushed[_LOCAL_MODES] &= ~termios.ECHO
            termios.tcsetattr(number, termios.TCSANOW, hushed)
            self._before = before

    def end(self) -> None:
        """As it was."""
        before, self._before = self._before, None
        if before is not None:
            with suppress(termios.error, ValueError, OSError):
                termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, before)


class Person:
    """Whoever sits there; `is_there` is false in a pipe, where nobody could be asked."""

    def __init__(self, output: Output) -> None:
        self._terminal: TextIO | None = None
        self._is_opened = False
        if output.err.is_terminal and not sys.stdin.isatty():
            with suppress(OSError):
                self._terminal = open(TERMINAL, encoding="utf-8")  # noqa: SIM115, PTH123 - see close
                self._is_opened = True
        elif output.err.is_terminal:
            self._terminal = sys.stdin

    @property
    def is_there(self) -> bool:
        """Whether somebody can be asked."""
        return self._terminal is not None

    def ask(self, prompt: str) -> str:
        """A line of theirs; what was typed before it was asked for does not count.

        Raises EOFError at the end of what they type.
        """
        if self._terminal is None:
            raise EOFError
        try:
            return self._line(self._terminal, prompt)
        except (EOFError, KeyboardInterrupt):
            sys.stderr.write("\n")
            raise

    def _line(self, terminal: TextIO, prompt: str) -> str:
        with suppress(termios.error):
            termios.tcflush(terminal.fileno(), termios.TCIFLUSH)
        if terminal is sys.stdin and sys.stdout.isatty():
            return input(prompt)
        sys.stderr.write(prompt)
        sys.stderr.flush()
        line = terminal.readline()
        if not line:
            raise EOFError
        return line.rstrip("\n")

    def close(self) -> None:
        """Give the terminal back."""
        if self._is_opened and self._terminal is not None:
            self._terminal.close()
