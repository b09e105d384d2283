"""The tools that one turn calls, sub-agents' too: which wait for their result, what they did.

Pure.  Everything is bounded: a turn may call tools for hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import orjson

from cowork.claude.stream_json import notices
from cowork.claude.stream_json.protocol import Message
from cowork.events import Event, Todo, ToolResult, ToolUse

# What changes files, and the key under which its result names one; a tool that is not here is
# not known to.
_EDITS = frozenset({"Write", "Edit", "MultiEdit", "NotebookEdit"})
_PATH_KEYS = ("filePath", "notebook_path", "file_path")
FILES_LIMIT = 1000
DENIALS_LIMIT = 100
DENIAL_INPUT_BYTES = 4096
WHY_LIMIT_CHARS = 1024
TODO_LIMIT = 200
_STATES = frozenset({"pending", "in_progress", "completed"})


class ToolCalls:
    """`cwd` is the directory that changed files are told relative to.

    `waiting` are the calls of the main agent that have no result yet, `used` whether there was one.
    """

    def __init__(self, cwd: str = "") -> None:
        self._cwd = cwd
        self.used = False
        self.waiting: set[str] = set()
        self._names: dict[str, tuple[str, str | None, datetime | None]] = {}
        self._files: dict[str, None] = {}
        self._refusals: dict[str, str] = {}

    def begin(self, block: Message, message: Message) -> ToolUse:
        """The model, or a sub-agent's, calls a tool."""
        parent = message.get("parent_tool_use_id")
        use = notices.tool_use(block, parent if isinstance(parent, str) else None)
        self.used = True
        self._names[use.id] = use.name, use.parent_id, _moment(message)
        if use.parent_id is None:
            self.waiting.add(use.id)
        return use

    def restore(self, tool_use_id: str, name: str) -> None:
        """A call that an earlier process of the turn has made, and that has no result yet."""
        self.used = True
        self._names[tool_use_id] = name, None, None
        self.waiting.add(tool_use_id)

    def end(self, message: Message, block: Message) -> list[Event]:
        """What a tool of this turn gave back; others' are not ours to tell."""
        cut = message.get("truncated") is True
        tool = block.get("tool_use_id")
        if cut and tool is None and len(self._names) == 1:
            (tool,) = self._names  # the line's beginning did not say
        if block.get("type") != "tool_result" or not isinstance(tool, str):
            return []
        call = self._names.pop(tool, None)
        if call is None:
            return []
        self.waiting.discard(tool)
        name, _, begun = call
        result = notices.tool_result(tool, block, cut=cut, duration_ms=_ms(begun, _moment(message)))
        if result.is_error and len(self._refusals) < DENIALS_LIMIT:
            self._refusals[tool] = result.content[:WHY_LIMIT_CHARS]
        return [result, *self._effects(name, result, message.get("tool_use_result"))]

    def _effects(self, name: str, result: ToolResult, told: Any) -> list[Event]:
        if result.is_error or not isinstance(told, dict):
            return []
        if name in _EDITS:
            path = next((told[key] for key in _PATH_KEYS if isinstance(told.get(key), str)), None)
            if path is not None and len(self._files) < FILES_LIMIT:
                self._files[_relative(path, self._cwd)] = None
        if name == "TodoWrite" and isinstance(told.get("newTodos"), list):
            return [Todo(_items(told["newTodos"]))]
        return []

    @property
    def files_changed(self) -> tuple[str, ...]:
        """Paths that edit tools have changed, in the order of their first change."""
        return tuple(self._files)

    def denials(self, result: Message) -> tuple[Mapping[str, Any], ...]:
        """The tools that were refused, as the turn's `result` lists them, and why."""
        found = result.get("permission_denials")
        entries = [each for each in found if isinstance(each, dict)] if found else []
        return tuple(self._denial(each) for each in entries[:DENIALS_LIMIT])

    def _denial(self, entry: Message) -> Mapping[str, Any]:
        given = entry.get("tool_input")
        return {
            "tool": str(entry.get("tool_name", "")),
            "input": bounded_input(given if isinstance(given, dict) else {}),
            "why": self._refusals.get(str(entry.get("tool_use_id"))),
        }


def bounded_input(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """An input as it can be told with a turn's end: one that is large is not."""
    try:
        fits = len(orjson.dumps(given)) <= DENIAL_INPUT_BYTES
    except orjson.JSONEncodeError:
        fits = False
    return given if fits else {"truncated": True}


def _items(found: list[Any]) -> list[dict[str, str]]:
    items = [each for each in found if isinstance(each, dict)][:TODO_LIMIT]
    return [
        {"text": str(each.get("content", "")), "state": _state(each.get("status"))}
        for each in items
    ]


def _state(told: Any) -> str:
    return told if told in _STATES else "pending"


def _relative(path: str, cwd: str) -> str:
    try:
        return str(PurePosixPath(path).relative_to(cwd)) if cwd else path
    except ValueError:
        return path


def _moment(message: Message) -> datetime | None:
    told = message.get("timestamp")
    try:
        return datetime.fromisoformat(told) if isinstance(told, str) else None
    except ValueError:
        return None


def _ms(begun: datetime | None, ended: datetime | None) -> int | None:
    if begun is None or ended is None or (begun.tzinfo is None) != (ended.tzinfo is None):
        return None
    return max(round((ended - begun).total_seconds() * 1000), 0)
