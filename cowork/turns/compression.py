"""Turns' logs as the stores keep them: compressed, piece by piece so that nobody waits for long."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable

_LEVEL = 1
_PIECE = 1 << 18


def pack(pieces: Iterable[bytes], limit: int) -> bytes | None:
    """All pieces, compressed; None where that is more than `limit` bytes."""
    squeeze = zlib.compressobj(_LEVEL)
    packed = bytearray()
    for piece in pieces:
        packed += squeeze.compress(piece)
        if len(packed) > limit:
            return None
        if len(piece) == _PIECE:
            time.sleep(0)
    packed += squeeze.flush()
    return bytes(packed) if len(packed) <= limit else None


def unpack(packed: bytes, limit: int) -> bytes:
    """What was packed; raises ValueError for what is no such thing, or more than `limit` bytes."""
    stretch = zlib.decompressobj()
    pieces, size = [], 0
    try:
        while not stretch.eof:
            piece = stretch.decompress(packed, _PIECE)
            packed = stretch.unconsumed_tail
            pieces.append(piece)
            size += len(piece)
            if size > limit or not (piece or stretch.eof):
                raise ValueError("not a packed log")
            time.sleep(0)
    except zlib.error as fault:
        raise ValueError("not a packed log") from fault
    return b"".join(pieces)
