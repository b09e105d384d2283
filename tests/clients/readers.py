"""Readers of a stream as people write them, who know the founding document alone.

Each takes the chunks of a body as they come and gives the text of the answer; it stops at the last
frame.  None is ours: they take what the document shows for granted, and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator

import sseclient

Reader = Callable[[Iterable[bytes]], str]


def by_line(chunks: Iterable[bytes]) -> str:
    """Line by line, each that begins with `data: `."""
    text = ""
    for line in _lines(chunks):
        if not line.startswith("data: "):
            continue
        data = json.loads(line[6:])
        if data.get("done"):
            break
        text += data["token"]
    return text


def by_blank_line(chunks: Iterable[bytes]) -> str:
    """Split at blank lines; what begins with `data: ` is an event."""
    text = ""
    for block in _split(chunks, "\n\n"):
        if block.startswith("data: "):
            data = json.loads(block[6:])
            if data.get("done"):
                break
            text += data["token"]
    return text


def by_data(chunks: Iterable[bytes]) -> str:
    """Split at `data: `, and each piece is JSON."""
    text = ""
    for piece in _split(chunks, "data: "):
        if not piece.strip():
            continue
        data = json.loads(piece)
        if data.get("done"):
            break
        text += data["token"]
    return text


def by_search(chunks: Iterable[bytes]) -> str:
    """Read until `"done": true` is found, then search for tokens."""
    whole = b""
    for chunk in chunks:
        whole += chunk
        if b'"done": true' in whole:
            break
    found = re.findall(r'data: \{"type": "token", "token": ("(?:[^"\\]|\\.)*")\}', whole.decode())
    return "".join(json.loads(each) for each in found)


def by_event(chunks: Iterable[bytes]) -> str:
    """Each block that is not empty is an event, whose JSON begins behind `data: `."""
    text = ""
    for block in _split(chunks, "\n\n"):
        event = block.strip()
        if not event:
            continue
        data = json.loads(event[len("data: ") :])
        if data.get("type") == "token":
            text += data["token"]
        if data.get("done") is True:
            break
    return text


def by_sseclient(chunks: Iterable[bytes]) -> str:
    """The library sseclient-py."""
    text = ""
    for event in sseclient.SSEClient(iter(chunks)).events():  # type: ignore[arg-type]
        data = json.loads(event.data)
        if data.get("done"):
            break
        text += data["token"]
    return text


READERS: dict[str, Reader] = {
    "by line": by_line,
    "by blank line": by_blank_line,
    "by data": by_data,
    "by search": by_search,
    "by event": by_event,
    "sseclient": by_sseclient,
}


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    for line in _split(chunks, "\n"):
        yield line.rstrip("\r")


def _split(chunks: Iterable[bytes], at: str) -> Iterator[str]:
    """The pieces between separators, as soon as the next separator has come, and the rest."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(at.encode())
        for piece in whole:
            yield piece.decode()
    yield rest.decode()
