"""A session's transcript as another session's: all of it, or up to a row.  Pure."""

from __future__ import annotations

from cowork.claude.stream_json import protocol

# Rows that say where the conversation ends, and what it has cost: the copy's are its own.
_OF_THE_ORIGINAL = frozenset({"last-prompt", "cost-state", "custom-title", "agent-name"})


def copy_transcript(
    transcript: bytes, session_id: str, new_id: str, until: str | None = None
) -> bytes | None:
    """The lines of a session `new_id` that has the same conversation, up to the row `until`.

    None where there is no such row.
    """
    before, after = (b'"sessionId":"%b"' % each.encode() for each in (session_id, new_id))
    kept: list[bytes] = []
    is_found = until is None
    for line in transcript.split(b"\n"):
        row = protocol.parse(line) if line else None
        if row is None or row["type"] in _OF_THE_ORIGINAL:
            continue
        kept.append(line.replace(before, after))
        if until is not None and row.get("uuid") == until:
            is_found = True
            break
    return b"\n".join([*kept, b""]) if is_found and kept else None
