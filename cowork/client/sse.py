"""Server-sent events out of a byte stream, each bounded.

httpx-sse would do but for the bound: it keeps a line that never ends until memory does, and decodes
and joins text on the way, where this API writes an event as one line of JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

# An answer comes whole in one event where it was replaced.
MAX_EVENT_BYTES = 32 * 2**20


class EventTooLarge(ValueError):
    """An event is larger than any of this API's."""


def events(blocks: Iterable[bytes], limit: int = MAX_EVENT_BYTES) -> Iterator[tuple[str, bytes]]:
    """The last id so far and the data of each event, as the specification reads them.

    What the stream breaks off in is dropped; comments, `event` and `retry` are passed over.
    Raises `EventTooLarge`.
    """
    last_id, data, size = "", list[bytes](), 0
    for line in _lines(blocks, limit):
        if not line:
            if data:
                yield last_id, b"\n".join(data)
            data, size = [], 0
            continue
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            size += len(value)
            if size > limit:
                raise EventTooLarge(f"an event of more than {limit} bytes")
            data.append(value)
        elif name == b"id" and b"\0" not in value:
            last_id = value.decode("utf-8", "replace")


def _lines(blocks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Lines without their ends, which are LF or CRLF, as this API and its proxies write them."""
    parts, size = list[bytes](), 0
    for block in blocks:
        *whole, rest = block.split(b"\n")
        for piece in whole:
            parts.append(piece)
            yield b"".join(parts).removesuffix(b"\r")
            parts, size = [], 0
        if rest:
            parts.append(rest)
            size += len(rest)
            if size > limit:
                raise EventTooLarge(f"an event of more than {limit} bytes")
