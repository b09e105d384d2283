"""What a transcript says that the model has been sent, and what it has said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BEGIN = "<earlier_conversation>\nThe session of this conversation was lost."
_END = "\n</earlier_conversation>"


def rows_of(data: bytes) -> list[dict[str, Any]]:
    """The rows of a transcript."""
    return [json.loads(line) for line in data.splitlines()]


def said_in(data: bytes) -> list[str]:
    """The texts of questions and answers, in their order, and before them what was told of others."""
    found: list[str] = []
    for row in rows_of(data):
        content = row.get("message", {}).get("content")
        if row["type"] == "user" and isinstance(content, str):
            found += told_in(content)
        elif row["type"] == "assistant":
            found += [block["text"] for block in content if block["type"] == "text"]
    return found


def transcript(home: Path, session_id: str) -> bytes:
    """The transcript of a session, wherever it was begun; none where there is none."""
    found = [*home.glob(f".claude/projects/*/{session_id}.jsonl")]
    return found[0].read_bytes() if found else b""


def plain(texts: list[str]) -> list[str]:
    """The texts as they are compared: white space does not count, nor do empty ones."""
    return [found for text in texts if (found := " ".join(text.split()))]


def told_in(prompt: str) -> Iterator[str]:
    """The texts of a question: of what was said before, where that is told, and its own."""
    if prompt.startswith(_BEGIN):
        told, _, prompt = prompt.removeprefix(_BEGIN).partition(_END)
        for line in told.splitlines()[1:]:
            exchange = json.loads(line)
            yield from (exchange["question"], exchange["answer"])
        prompt = prompt.removeprefix("\n\n")
    yield prompt
