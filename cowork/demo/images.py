"""Describes an image by its size and its colour: all that the demo model can see of one.

Sizes are read from the headers of PNG, JPEG, GIF and WebP; the colour is a PNG's, on average.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Mapping
from itertools import islice
from typing import Any

# Larger than this unpacked, a PNG is told by its size alone.
MAX_PIXEL_BYTES = 16 * 2**20
_SAMPLES = 4096
_COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "red": (220, 30, 30),
    "green": (30, 160, 60),
    "blue": (40, 80, 220),
    "yellow": (240, 220, 40),
    "orange": (245, 140, 30),
    "purple": (130, 50, 170),
    "pink": (250, 150, 190),
    "brown": (120, 75, 40),
    "turquoise": (60, 200, 200),
}
_PNG = b"\x89PNG\r\n\x1a\n"
# Bytes of a pixel by a PNG's colour type: grey, RGB, palette, grey and alpha, RGB and alpha.
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def describe(block: Mapping[str, Any]) -> str:
    """What a content block of a message shows, as the end of a sentence."""
    source = block.get("source") or {}
    try:
        data = base64.b64decode(str(source.get("data", "")), validate=True)
    except binascii.Error:
        return "an image that is no base64"
    kind, size = _size(data)
    if size is None:
        return f"an image of {len(data)} bytes whose kind I do not know"
    told = f"a {kind} image of {size[0]} x {size[1]} pixels"
    colour = _colour(data) if kind == "PNG" else None
    return f"{told}, mostly {colour}" if colour else told


def _size(data: bytes) -> tuple[str, tuple[int, int] | None]:
    """Its kind, and width and height where it has one."""
    try:
        if data.startswith(_PNG):
            return "PNG", struct.unpack_from(">II", data, 16)
        if data.startswith((b"GIF87a", b"GIF89a")):
            return "GIF", struct.unpack_from("<HH", data, 6)
        if data.startswith(b"\xff\xd8"):
            return "JPEG", _jpeg_size(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return "WebP", _webp_size(data)
    except struct.error:  # it ends before it has said how large it is
        pass
    return "", None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """From the frame's header, which the segments before it lead to."""
    at = 2
    while True:
        mark, kind, length = struct.unpack_from(">BBH", data, at)
        if mark != 0xFF:  # noqa: PLR2004 - every segment begins so
            return None
        if 0xC0 <= kind <= 0xCF and kind not in {0xC4, 0xC8, 0xCC}:  # noqa: PLR2004
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + length


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        return width + 1, height + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _colour(data: bytes) -> str | None:
    """The name of a PNG's average colour; None for kinds that are not read."""
    try:
        width, height, depth, kind, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
        channels = _CHANNELS.get(kind)
        if depth != 8 or channels is None or interlaced:  # noqa: PLR2004
            return None
        if (width * channels + 1) * height > MAX_PIXEL_BYTES:
            return None
        chunks = dict(_chunks(data))
        lines = _lines(chunks.get(b"IDAT", b""), width * channels, channels, height)
    except (struct.error, zlib.error, IndexError):
        return None
    pixels = b"".join(lines)
    palette = chunks.get(b"PLTE", b"")
    step = max(1, len(pixels) // channels // _SAMPLES)
    found = [
        _rgb(pixels[at : at + channels], kind, palette)
        for at in range(0, len(pixels), channels * step)
    ]
    if not found:
        return None
    mean = [sum(each[part] for each in found) / len(found) for part in range(3)]
    return min(
        _COLOURS,
        key=lambda name: sum((a - b) ** 2 for a, b in zip(mean, _COLOURS[name], strict=True)),
    )


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """A PNG's chunks by name; pieces of one name are joined."""
    found: dict[bytes, bytes] = {}
    at = len(_PNG)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        found[name] = found.get(name, b"") + data[at + 8 : at + 8 + length]
        at += 12 + length
    return found


def _lines(packed: bytes, size: int, channels: int, height: int) -> list[bytes]:
    """The lines of pixels, their filters undone."""
    raw = zlib.decompressobj().decompress(packed, MAX_PIXEL_BYTES)
    lines: list[bytes] = []
    before = bytes(size)
    for begin in islice(range(0, len(raw), size + 1), height):
        line = bytearray(raw[begin + 1 : begin + 1 + size])
        _unfilter(raw[begin], line, before, channels)
        before = bytes(line)
        lines.append(before)
    return lines


def _unfilter(kind: int, line: bytearray, above: bytes, channels: int) -> None:
    for at in range(len(line)):
        left = line[at - channels] if at >= channels else 0
        corner = above[at - channels] if at >= channels else 0
        line[at] = (line[at] + _predicted(kind, left, above[at], corner)) & 0xFF


def _predicted(kind: int, left: int, above: int, corner: int) -> int:
    """What the filter of a line has taken away, by PNG's five kinds."""
    if kind == 4:  # noqa: PLR2004 - Paeth's
        guess = left + above - corner
        return min((left, above, corner), key=lambda each: abs(guess - each))
    return (0, left, above, (left + above) // 2)[kind]


def _rgb(pixel: bytes, kind: int, palette: bytes) -> tuple[int, int, int]:
    if kind in {2, 6}:
        return pixel[0], pixel[1], pixel[2]
    if kind == 3:  # noqa: PLR2004 - a place in the palette
        red, green, blue = palette[3 * pixel[0] : 3 * pixel[0] + 3] or b"\0\0\0"
        return red, green, blue
    return pixel[0], pixel[0], pixel[0]
