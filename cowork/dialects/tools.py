"""Tools that a client declares: none is called, but for the one whose call is to be the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cowork.dialects.request import ForcedTool
from cowork.errors import InvalidValue

_TOOL_FIELDS = ("tools", "tool_choice", "functions", "function_call")
# Words for "call some tool".
_SOME = ("required", "any")
_NONE = ("none",)


def forced_tool(body: Mapping[str, Any]) -> ForcedTool | None:
    """The one tool that the client wants called: named, or the only one where one is required.

    In the forms of chat completions, responses and messages.  Raises `InvalidValue`.
    """
    tools = _declared(body.get("tools"))
    choice = body.get("tool_choice")
    if choice is None:
        return None
    if not isinstance(choice, str | dict):
        raise InvalidValue("must be a string or an object", field="tool_choice")
    kind = choice if isinstance(choice, str) else choice.get("type")
    if kind in _SOME:
        return next(iter(tools.values())) if len(tools) == 1 else None
    if not isinstance(choice, dict) or kind not in ("function", "tool"):
        return None
    function = choice.get("function")
    name = function.get("name") if isinstance(function, dict) else choice.get("name")
    if not isinstance(name, str) or name not in tools:
        raise InvalidValue("must name one of the tools", field="tool_choice")
    return tools[name]


def ignored_tools(
    body: Mapping[str, Any], forced: ForcedTool | None, *, rejects: bool
) -> tuple[str, ...]:
    """Which of the client's words on tools are not followed.

    Raises `InvalidValue` for them where the operator `rejects` them.
    """
    if forced is not None:
        return ()
    found = tuple(name for name in _TOOL_FIELDS if body.get(name) and body[name] not in _NONE)
    if rejects and found:
        sentence = "tools of the client are not called: the agent has its own"
        raise InvalidValue(f"{sentence} (COWORK_COMPAT_TOOLS=reject)", field=found[0])
    return found


def _declared(given: object) -> dict[str, ForcedTool]:
    if given is None:
        return {}
    if not isinstance(given, list):
        raise InvalidValue("must be a list", field="tools")
    found: dict[str, ForcedTool] = {}
    for place, each in enumerate(given):
        if not isinstance(each, dict):
            raise InvalidValue("each tool must be an object", field=f"tools[{place}]")
        tool = each["function"] if isinstance(each.get("function"), dict) else each
        name = tool.get("name")
        schema = tool.get("parameters") or tool.get("input_schema") or {"type": "object"}
        if isinstance(name, str) and name and isinstance(schema, dict):
            found[name] = ForcedTool(name, schema)
    return found
