"""An answer as Markdown while it is written: finished blocks stay, the last one is drawn anew.

So what has scrolled by is never touched again, and drawing costs what the last block does, however
long the answer is.
"""

from __future__ import annotations

import time

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cowork.client import ApprovalRequested, Done, Event, Replace, Token, ToolResult, ToolUse
from cowork.terminal.figures import span
from cowork.terminal.output import Output
from cowork.terminal.person import Hush
from cowork.terminal.screens import Notes
from cowork.terminal.text import clean
from cowork.terminal.tools import described

# A block that is longer is shown as text while it grows, and a text that is longer for good:
# to lay it out takes longer than anybody waits.
LIVE_MARKDOWN = 8_000
MOST_MARKDOWN = 200_000
REDRAWS = 8
_KEPT_ROWS = 4
_PARSER = MarkdownIt()


class MarkdownScreen:
    """Draws a turn on a terminal."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._notes = Notes(output)
        self._said = ""  # of the answer, what is printed for good
        self._tail = ""
        self._doing = "thinking"
        self._since = time.monotonic()
        self._live: Live | None = None
        self._looked_at = 0.0
        self._hush = Hush()
        self._start()

    def show(self, event: Event) -> None:
        self._start()
        if isinstance(event, Token):
            self._tail += clean(event.text)
            self._doing = "writing"
            self._print_finished()
        elif isinstance(event, Replace) or (isinstance(event, Done) and event.message is not None):
            text = event.text if isinstance(event, Replace) else event.message or ""
            self._replace(clean(text))
        elif isinstance(event, ToolUse):
            word, does = described(event.name, event.input)
            self._does(f"{word}  {does}")
            self._print_tail()
            self._notes.show(event)
        elif isinstance(event, ToolResult):
            self._does("thinking")
            self._notes.show(event)
        elif not isinstance(event, ApprovalRequested | Done):
            self._notes.show(event)

    def pause(self) -> None:
        self._print_tail()
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._hush.end()

    def end(self, *, is_whole: bool) -> None:
        del is_whole  # what there is stays
        self.pause()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The last rows of the block that is being written, and what is done."""
        rows = max(2, console.height - _KEPT_ROWS)
        if self._tail.strip():
            shown = self._tail
            if len(shown) > LIVE_MARKDOWN:
                block: Markdown | Text = Text(shown[-LIVE_MARKDOWN:])
            else:
                block = _markdown(shown)
            for line in console.render_lines(block, options, pad=False)[-rows:]:
                yield from line
                yield Segment.line()
        took = time.monotonic() - self._since
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        passed = f"  {span(took)}" if took > 1 else ""
        grid.add_row(Spinner("dots"), Text(f"{self._doing}{passed}", "dim"))
        yield grid

    def _does(self, what: str) -> None:
        self._doing, self._since = what, time.monotonic()

    def _start(self) -> None:
        if self._live is None:
            self._live = Live(
                self,
                console=self._output.out,
                refresh_per_second=REDRAWS,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._hush.begin()
            self._live.start()

    def _print_finished(self) -> None:
        """Print the blocks behind which another one has begun; looked for as often as is drawn."""
        now = time.monotonic()
        if now - self._looked_at < 1 / REDRAWS:
            return
        self._looked_at = now
        length = finished(self._tail)
        whole, self._tail = self._tail[:length], self._tail[length:]
        if whole:
            self._print(whole)

    def _print_tail(self) -> None:
        tail, self._tail = self._tail, ""
        if tail.strip():
            self._print(tail)
        else:
            self._said += tail

    def _print(self, text: str) -> None:
        self._said += text
        shown = _markdown(text) if len(text) <= MOST_MARKDOWN else Text(text)
        self._output.out.print(shown)
        self._output.out.print()

    def _replace(self, text: str) -> None:
        if text.startswith(self._said):
            self._tail = text[len(self._said) :]
            return
        self._output.note("the model began anew; what stands above is void", style="yellow")
        self._said, self._tail = "", text


def finished(text: str) -> int:
    """How long the blocks are behind which another one has begun."""
    begins = [token.map[0] for token in _PARSER.parse(text) if token.level == 0 and token.map]
    if not begins or begins[-1] == 0:
        return 0
    return sum(len(line) + 1 for line in text.split("\n")[: begins[-1]])


def _markdown(text: str) -> Markdown:
    return Markdown(text, hyperlinks=False, code_theme="ansi_dark")
