"""How a turn is shown in plain text: as it comes, when it is whole, or as JSON."""

from __future__ import annotations

from typing import Any

from cowork.client import (
    ApprovalRequested,
    ApprovalResolved,
    Done,
    Event,
    Replace,
    Status,
    Stream,
    Token,
    ToolResult,
    ToolUse,
)
from cowork.terminal.facts import items, number
from cowork.terminal.figures import money, plural, span
from cowork.terminal.output import Output
from cowork.terminal.text import clean, one_line
from cowork.terminal.tools import call_line, result_lines


class PlainScreen:
    """The answer on standard output, as it comes or in one piece; tools on standard error."""

    def __init__(self, output: Output, *, as_it_comes: bool, notes: bool) -> None:
        """`notes`: what it does besides, which only a person wants to know."""
        self._output = output
        self._as_it_comes = as_it_comes
        self._notes = Notes(output) if notes else None
        self._text: list[str] = []

    def show(self, event: Event) -> None:
        if isinstance(event, Token):
            self._text.append(event.text)
            if self._as_it_comes:
                self._output.write(event.text)
        elif isinstance(event, Replace) or (isinstance(event, Done) and event.message is not None):
            self._replace(event.text if isinstance(event, Replace) else event.message or "")
        elif isinstance(event, ApprovalRequested):
            self._say_what_waits(event)
        elif self._notes is not None:
            self._notes.show(event)

    def pause(self) -> None:
        self._output.end_line()

    def end(self, *, is_whole: bool) -> None:
        if is_whole and not self._as_it_comes:
            self._output.write("".join(self._text))
        self._output.end_line()

    def _replace(self, text: str) -> None:
        said = "".join(self._text)
        self._text = [text]
        if not self._as_it_comes or text == said:
            return
        if text.startswith(said):
            self._output.write(text[len(said) :])
            return
        self._output.end_line()
        self._output.note("the model began anew; what stands above is void", style="yellow")
        self._output.write(text)

    def _say_what_waits(self, event: ApprovalRequested) -> None:
        if not self._output.err.is_terminal:
            self._output.note(f"waits for somebody: xo-cowork approvals allow {clean(event.id)}")


class JsonScreen:
    """Each event's frame, in a line."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def show(self, event: Event) -> None:
        self._output.json({**event.frame, "number": event.number})

    def pause(self) -> None:
        """Nothing: lines are whole."""

    def end(self, *, is_whole: bool) -> None:
        """Nothing."""


class SilentScreen:
    """Nothing, for what is printed when it is whole."""

    def show(self, event: Event) -> None:
        """Nothing."""

    def pause(self) -> None:
        """Nothing."""

    def end(self, *, is_whole: bool) -> None:
        """Nothing."""


class Notes:
    """Lines on what a turn does besides its answer."""

    def __init__(self, output: Output) -> None:
        self._output = output
        # What a person has denied comes as a result with an error, like what has failed.
        self._is_denied = False

    def show(self, event: Event) -> None:
        """The line of an event, where it has one."""
        output = self._output
        if isinstance(event, ToolUse):
            output.note(call_line(event.name, event.input, output.err.width))
        elif isinstance(event, ToolResult):
            if not (self._is_denied and event.is_error):
                for line in result_lines(event, output.err.width):
                    output.note(line)
            self._is_denied = False
        elif isinstance(event, Status) and (said := status_line(event)):
            output.note(said, style="dim")
        elif isinstance(event, ApprovalResolved) and event.decision not in {"allow", "answer"}:
            self._is_denied = True
            said = {"deny": "not allowed"}.get(event.decision, clean(event.decision))
            output.note(f"  {said}", style="yellow")


def status_line(event: Status) -> str | None:
    """What it does while it is silent, where that is worth a line."""
    frame = event.frame
    position = frame.get("position")
    said = {
        "queued": f"{plural(position, 'question')} before this one" if position else None,
        "api_retry": f"the model's service failed, it is tried again ({frame.get('attempt', '')})",
        "rate_limit": "the model's service limits the rate",
        "compacting": "compacting the conversation",
        "model_changed": f"goes on with {frame.get('fallback_model')}",
        "media_removed": "an attachment was refused by the model's service",
    }.get(event.status)
    return None if said is None else one_line(said)


def foot(stream: Stream) -> str | None:
    """What a turn took: `2.3 s · $0.04 · claude-opus-5`."""
    if stream.done is None:
        return None
    frame = stream.done.frame
    took, changed = number(frame.get("duration_ms")), items(frame, "files_changed")
    parts = [
        "" if took is None else span(took / 1000),
        money(frame.get("total_cost_usd")),
        str(frame.get("model") or ""),
        f"changed {', '.join(map(str, changed))}" if changed else "",
    ]
    return one_line(" · ".join(part for part in parts if part)) or None


def whole(stream: Stream, project: str) -> dict[str, Any]:
    """An answer as one value for a program."""
    done = dict(stream.done.frame) if stream.done is not None else {}
    kept = {name: value for name, value in done.items() if name not in {"done", "type", "message"}}
    return {"text": stream.text, "project_id": project, **kept}
