"""A tool call as one line, and as all of it: what it is called, what it does, how it went."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from cowork.client import ToolResult
from cowork.terminal.figures import span
from cowork.terminal.text import clean, one_line

_NAMED = {
    "Bash": ("Run", ("command",)),
    "Read": ("Read", ("file_path",)),
    "Write": ("Write", ("file_path",)),
    "Edit": ("Edit", ("file_path",)),
    "MultiEdit": ("Edit", ("file_path",)),
    "NotebookEdit": ("Edit", ("notebook_path",)),
    "Grep": ("Search", ("pattern", "path")),
    "Glob": ("Find", ("pattern", "path")),
    "WebFetch": ("Fetch", ("url",)),
    "WebSearch": ("Search the web", ("query",)),
    "Task": ("Sub-agent", ("description",)),
    "Agent": ("Sub-agent", ("description",)),
    "AskUserQuestion": ("Question to you", ()),
    "ExitPlanMode": ("Plan for you", ()),
}
_MCP = re.compile(r"mcp__(.+?)__(.+)")
_EXIT = re.compile(r"(?:Error: )?Exit code (\d+)\n?")
_DENIED = re.compile(r"permission|denied|rejected|doesn't want to proceed", re.IGNORECASE)
_SHOWN_LINES = 3
_LONG_MS = 1000


def described(name: str, given: Mapping[str, Any]) -> tuple[str, str]:
    """What a call is called, and what it does, in a line."""
    if name in _NAMED:
        word, keys = _NAMED[name]
        does = " in ".join(str(given[key]) for key in keys if given.get(key))
        return word, one_line(does)
    found = _MCP.fullmatch(name)
    word = f"{found[2]} ({found[1]})" if found else name
    first = next((value for value in given.values() if isinstance(value, str)), "")
    return one_line(word), one_line(first)


def call_line(name: str, given: Mapping[str, Any], width: int) -> Text:
    """A call that has begun: `• Run  ls -la`, cut to the width."""
    word, does = described(name, given)
    line = Text.assemble(("• ", "cyan"), (word, "bold"), "  ", (does, "dim"))
    line.truncate(width, overflow="ellipsis")
    return line


def result_lines(result: ToolResult, width: int) -> Iterator[Text]:
    """What is worth a line of how it went: a failure with its last words, or that it took long."""
    took = result.duration_ms or 0
    if not result.is_error:
        if took >= _LONG_MS:
            yield Text(f"  {span(took / 1000)}", "dim")
        return
    text = clean(text_of(result.content))
    code = _EXIT.match(text)
    if code is None and _DENIED.search(text[:300]):
        how = "not allowed"
    else:
        how = f"failed, exit {code[1]}" if code else "failed"
    yield Text(f"  {how}", "red")
    body = (
        _EXIT.sub("", text, count=1)
        .replace("<tool_use_error>", "")
        .replace("</tool_use_error>", "")
    )
    for words in [line for line in body.splitlines() if line.strip()][-_SHOWN_LINES:]:
        line = Text(f"  {words}", "dim")
        line.truncate(width, overflow="ellipsis")
        yield line


def whole_call(name: str, given: Mapping[str, Any]) -> Iterator[Text]:
    """All that a call would do: its command, its change, or its input."""
    path = given.get("file_path") or given.get("notebook_path")
    if name == "Bash" and isinstance(given.get("command"), str):
        yield Text(clean(given["command"]), "bold")
    elif path and name in {"Write", "Edit", "MultiEdit", "NotebookEdit"}:
        yield Text(clean(str(path)), "bold")
        for before, after in _changes(name, given):
            yield from (Text(f"- {line}", "red") for line in clean(before).splitlines())
            yield from (Text(f"+ {line}", "green") for line in clean(after).splitlines())
    else:
        yield Text(f"{clean(name)} {clean(json.dumps(dict(given), indent=2, ensure_ascii=False))}")


def text_of(content: Any) -> str:
    """What a tool gave back, as text."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    texts = [part["text"] for part in parts if isinstance(part, dict) and "text" in part]
    return "\n".join(map(str, texts)) if texts else json.dumps(content)


def _changes(name: str, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if name == "Write":
        yield "", str(given.get("content", ""))
    elif name == "NotebookEdit":
        yield "", str(given.get("new_source", ""))
    else:
        edits = given.get("edits")
        for each in edits if isinstance(edits, list) else [given]:
            if isinstance(each, dict | Mapping):
                yield str(each.get("old_string", "")), str(each.get("new_string", ""))
