"""A tool call that waits in a session's transcript, for a process that goes on with it.

A CLI that resumes a session whose transcript ends with a call that a hook has deferred asks about
it again, under the same id, and goes on with the turn.  A process that was killed while it waited
for a person has written the call, but nothing behind it; the row that a hook would have had it
write is added here.  Tried with 2.1.330 and 2.1.332.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from cowork.runtime.ids import new_id

# What a CLI writes as a call's result when its server is killed while it waits: nothing has run.
# That, and what it says then on its own, is taken out again: it might be gone on with.
NOT_ASKED = "Tool permission request failed: AbortError"
# Rows that say where the conversation ends.
_OF_THE_END = frozenset({"last-prompt"})
# Of the row of a call, what a row behind it has too.
_SHARED = ("isSidechain", "userType", "entrypoint", "cwd", "sessionId", "version", "gitBranch")


def with_deferred_tool(transcript: bytes, tool_use_id: str) -> bytes | None:
    """The transcript with which a CLI asks about that call again.

    None where it cannot: the call is not in there, or has run, or is a sub-agent's.
    """
    name = tool_use_id.encode()
    call: dict[str, Any] | None = None
    kept: list[bytes] = []
    dropped: set[str] = set()
    for line in transcript.split(b"\n"):
        if not line or (not dropped and name not in line):
            kept.append(line)
            continue
        row = _row_of(line)
        if _has_run(row, tool_use_id):
            return None
        if _was_not_asked(row, tool_use_id) or row.get("parentUuid") in dropped:
            dropped.add(str(row.get("uuid")))
            continue
        if dropped and row.get("type") in _OF_THE_END:
            continue
        if _call_in(row, tool_use_id) is not None:
            call = row
        kept.append(line)
    if call is None or call.get("isSidechain") is not False:
        return None
    kept = kept if not kept[-1] else [*kept, b""]  # it may have been killed within a line
    return b"\n".join(kept) + orjson.dumps(
        _deferring(call, tool_use_id), option=orjson.OPT_APPEND_NEWLINE
    )


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


def _results_in(row: Mapping[str, Any], tool_use_id: str) -> list[dict[str, Any]]:
    results = _blocks_of(row) if row.get("type") == "user" else []
    return [each for each in results if each.get("tool_use_id") == tool_use_id]


def _has_run(row: Mapping[str, Any], tool_use_id: str) -> bool:
    """Whether it is the call's result: whatever that says, but that nobody could be asked."""
    return any(not _is_not_asked(each) for each in _results_in(row, tool_use_id))


def _was_not_asked(row: Mapping[str, Any], tool_use_id: str) -> bool:
    return any(map(_is_not_asked, _results_in(row, tool_use_id)))


def _is_not_asked(block: Mapping[str, Any]) -> bool:
    said = block.get("content")
    is_error = block.get("is_error") is True and isinstance(said, str)
    return is_error and str(said).startswith(NOT_ASKED)
