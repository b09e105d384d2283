"""Turns' logs as the stores keep them: compressed, piece by piece so that nobody waits for long."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable

_COMPRESSION_LEVEL = 1
_PIECE_BYTES = 1 << 18


def compress(pieces: Iterable[bytes], limit: int) -> bytes | None:
    """All pieces, compressed; None where that is more than `limit` bytes."""
    compressor = zlib.compressobj(_COMPRESSION_LEVEL)
    compressed = bytearray()
    for piece in pieces:
        compressed += compressor.compress(piece)
        if len(compressed) > limit:
            return None
        if len(piece) == _PIECE_BYTES:
            time.sleep(0)
    compressed += compressor.flush()
    return bytes(compressed) if len(compressed) <= limit else None


def decompress(compressed: bytes, limit: int) -> bytes:
    """What was packed; raises ValueError for what is no such thing, or more than `limit` bytes."""
    decompressor = zlib.decompressobj()
    pieces, size = [], 0
    try:
        while not decompressor.eof:
            piece = decompressor.decompress(compressed, _PIECE_BYTES)
            compressed = decompressor.unconsumed_tail
            pieces.append(piece)
            size += len(piece)
            if size > limit or not (piece or decompressor.eof):
                raise ValueError("not a compressed log")
            time.sleep(0)
    except zlib.error as fault:
        raise ValueError("not a compressed log") from fault
    return b"".join(pieces)
