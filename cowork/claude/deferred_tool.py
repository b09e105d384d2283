"""A tool call that waits in a session's transcript, for a process that goes on with it.

A CLI that resumes a session whose transcript ends with a call that a hook has deferred asks about
it again, under the same id, and goes on with the turn.  A process that was killed while it waited
for a person has written the call, but nothing behind it; the row that a hook would have had it
write is added here.  Tried with 2.1.330 and 2.1.332.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from cowork.runtime.ids import new_id

# Of the row of a call, what a row behind it has too.
_SHARED = ("isSidechain", "userType", "entrypoint", "cwd", "sessionId", "version", "gitBranch")


def deferring_row(transcript: bytes, tool_use_id: str) -> bytes | None:
    """The line to add to a transcript, so that the CLI asks about that call again.

    None where it cannot: the call is not in there, or has its result, or is a sub-agent's.
    """
    name = json.dumps(tool_use_id).encode()
    call: dict[str, Any] | None = None
    for line in transcript.split(b"\n"):
        if name not in line:
            continue
        row = _row_of(line)
        if _has_result(row, tool_use_id):
            return None
        if _call_in(row, tool_use_id) is not None:
            call = row
    if call is None or call.get("isSidechain") is not False:
        return None
    return orjson.dumps(_deferring(call, tool_use_id), option=orjson.OPT_APPEND_NEWLINE)


def _deferring(row: Mapping[str, Any], tool_use_id: str) -> dict[str, Any]:
    call = _call_in(row, tool_use_id) or {}
    return {
        # Behind the call itself: others of the same message have not run, and are left out.
        "parentUuid": row.get("uuid"),
        **{key: row[key] for key in _SHARED if key in row},
        "attachment": {
            "type": "hook_deferred_tool",
            "toolUseID": tool_use_id,
            "toolName": call.get("name"),
            "toolInput": call.get("input"),
            "hookName": "settings",
            "hookEvent": "PreToolUse",
            "permissionMode": "default",
        },
        "type": "attachment",
        "uuid": new_id(),
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def _row_of(line: bytes) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return row if isinstance(row, dict) else {}


def _blocks_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    message = row.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return [each for each in content if isinstance(each, dict)] if isinstance(content, list) else []


def _call_in(row: Mapping[str, Any], tool_use_id: str) -> dict[str, Any] | None:
    calls = _blocks_of(row) if row.get("type") == "assistant" else []
    return next((each for each in calls if each.get("id") == tool_use_id), None)


def _has_result(row: Mapping[str, Any], tool_use_id: str) -> bool:
    results = _blocks_of(row) if row.get("type") == "user" else []
    return any(each.get("tool_use_id") == tool_use_id for each in results)
