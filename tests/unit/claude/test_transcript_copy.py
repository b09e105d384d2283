"""A copy of a transcript is another session's, up to where it was asked for."""

from __future__ import annotations

import json
from typing import Any

from cowork.claude.transcript_copy import copy_transcript


def lines(*rows: Any) -> bytes:
    return b"".join(json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in rows)


ROWS = [
    {"type": "user", "uuid": "u1", "sessionId": "old", "message": {"content": 'say "old"'}},
    {"type": "assistant", "uuid": "a1", "sessionId": "old"},
    {"type": "last-prompt", "sessionId": "old"},
    {"type": "cost-state", "sessionId": "old"},
    {"type": "user", "uuid": "u2", "parentUuid": "a1", "sessionId": "old"},
    {"type": "assistant", "uuid": "a2", "sessionId": "old"},
]


def copied(until: str | None) -> list[Any] | None:
    found = copy_transcript(lines(*ROWS) + b"garbage\n", "old", "new", until)
    return None if found is None else [json.loads(line) for line in found.splitlines()]


def test_all_of_it_under_the_new_id_without_what_is_the_originals_own() -> None:
    found = copied(None)
    assert found is not None
    assert [row.get("uuid") for row in found] == ["u1", "a1", "u2", "a2"]
    assert {row["sessionId"] for row in found} == {"new"}
    assert found[0]["message"]["content"] == 'say "old"'


def test_up_to_a_row() -> None:
    found = copied("a1")
    assert found is not None
    assert [row["uuid"] for row in found] == ["u1", "a1"]
    assert copied("nobody") is None
    assert copy_transcript(b"", "old", "new") is None
