"""The row that has a CLI ask about a call again; that it does is in `tests/e2e/test_approvals.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cowork.claude.deferred_tool import with_deferred_tool
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


def rows(found: bytes | None) -> list[Any]:
    assert found is not None
    return [json.loads(line) for line in found.splitlines()]


def test_the_row_stands_behind_the_call_and_names_it() -> None:
    given = call(), call("use-2"), {"type": "x"}
    *kept, row = rows(with_deferred_tool(lines(*given), "use-1"))
    assert kept == list(given)
    assert (row["parentUuid"], row["type"], row["cwd"]) == ("row-use-1", "attachment", "/w")
    told = row["attachment"]
    assert (told["type"], told["toolUseID"]) == ("hook_deferred_tool", "use-1")
    assert (told["toolName"], told["toolInput"]) == ("Write", {"a": 1})


def test_a_call_about_which_nobody_could_be_asked_has_not_run() -> None:
    refused = result()
    block = refused["message"]["content"][0]
    block |= {"content": "Tool permission request failed: AbortError: closed", "is_error": True}
    more = {"type": "assistant", "uuid": "more", "parentUuid": "row-r", "message": {}}
    end, costs = {"type": "last-prompt"}, {"type": "cost-state"}
    given = lines({"type": "last-prompt"}, call(), refused, end, costs, more)
    *kept, row = rows(with_deferred_tool(given, "use-1"))
    assert kept == [{"type": "last-prompt"}, call(), costs]
    assert row["parentUuid"] == "row-use-1"
    block["content"] = "The user doesn't want to proceed"
    assert with_deferred_tool(lines(call(), refused), "use-1") is None


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
    assert with_deferred_tool(transcript, "use-1") is None


def test_it_is_added_to_the_transcript_without_a_line_that_was_cut(tmp_path: Path) -> None:
    transcripts = Transcripts(tmp_path)
    assert not transcripts.defer_tool("/w", SESSION, "use-1")
    transcripts.write("/w", SESSION, lines(call()) + b'{"cut')
    assert transcripts.defer_tool("/w", SESSION, "use-1")
    assert not transcripts.defer_tool("/w", SESSION, "use-2")
    (path,) = tmp_path.glob(f"projects/*/{SESSION}.jsonl")
    first, row = path.read_bytes().splitlines()
    assert json.loads(first) == call()
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
