"""The row that has a CLI ask about a call again; that it does is in `tests/e2e/test_approvals.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cowork.claude.deferred_tool import deferring_row
from cowork.claude.transcript import Transcripts

SESSION = "00000000-0000-4000-8000-000000000001"


def call(tool: str = "use-1", **fields: Any) -> dict[str, Any]:
    block = {"type": "tool_use", "id": tool, "name": "Write", "input": {"a": 1}}
    row = {"type": "assistant", "uuid": f"row-{tool}", "isSidechain": False, "cwd": "/w"}
    return {**row, "message": {"content": [block]}, **fields}


def result(tool: str = "use-1") -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": tool, "content": "ok"}
    return {"type": "user", "uuid": "row-r", "message": {"content": [block]}}


def lines(*rows: Any) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in rows)


def test_the_row_stands_behind_the_call_and_names_it() -> None:
    row = json.loads(deferring_row(lines(call(), call("use-2"), {"type": "x"}), "use-1") or b"")
    assert (row["parentUuid"], row["type"], row["cwd"]) == ("row-use-1", "attachment", "/w")
    told = row["attachment"]
    assert (told["type"], told["toolUseID"]) == ("hook_deferred_tool", "use-1")
    assert (told["toolName"], told["toolInput"]) == ("Write", {"a": 1})


@pytest.mark.parametrize(
    "transcript",
    [
        b"",
        b"use-1",
        b'"use-1"\n{"use-1',
        lines(call("use-2")),
        lines(call(), result()),
        lines(call(isSidechain=True)),
        lines({"type": "user", "message": "use-1"}, ["use-1"], "use-1"),
    ],
)
def test_a_call_that_is_not_there_or_has_run_is_not_asked_again(transcript: bytes) -> None:
    assert deferring_row(transcript, "use-1") is None


def test_it_is_added_to_the_transcript_behind_a_line_that_was_cut(tmp_path: Path) -> None:
    transcripts = Transcripts(tmp_path)
    assert not transcripts.defer_tool("/w", SESSION, "use-1")
    transcripts.write("/w", SESSION, lines(call()) + b'{"cut')
    assert transcripts.defer_tool("/w", SESSION, "use-1")
    assert not transcripts.defer_tool("/w", SESSION, "use-2")
    (path,) = tmp_path.glob(f"projects/*/{SESSION}.jsonl")
    first, cut, row = path.read_bytes().splitlines()
    assert (json.loads(first), cut) == (call(), b'{"cut')
    assert json.loads(row)["attachment"]["toolUseID"] == "use-1"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    transcripts = Transcripts(tmp_path)
    transcripts.write("/w", SESSION, lines(call()))
    (path,) = tmp_path.glob(f"projects/*/{SESSION}.jsonl")
    other = tmp_path / "other"
    path.rename(other)
    path.symlink_to(other)
    with pytest.raises(OSError, match="symbolic"):
        transcripts.defer_tool("/w", SESSION, "use-1")
    assert other.read_bytes() == lines(call())
