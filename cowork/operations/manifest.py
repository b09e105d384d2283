"""What a backup says of itself: `manifest.json`, and `SHA256SUMS` as `sha256sum -c` reads it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from cowork.operations.errors import OperationFailed

# Of how a backup is laid out; a newer one is refused.
FORMAT = 1
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
_PIECE_BYTES = 2**20
_LINE = re.compile(r"(?P<escaped>\\?)(?P<sum>[0-9a-f]{64})  (?P<path>.+)")
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_MAX_TOLD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`manifest.json`: when and by what, what is in it, and where it was.

    `store` has `kind` and `included`, of a SQLite store `schema` and `counts` too; `paths` are of
    the server that was backed up; `contents` counts files and bytes by part.
    """

    made_at: str
    server: str
    python: str
    store: dict[str, Any]
    paths: dict[str, str]
    contents: dict[str, dict[str, int]]
    left_out: list[str] = field(default_factory=list)
    unreadable: int = 0
    sums: str = ""
    format: int = FORMAT


def write(folder: Path, manifest: Manifest, sums: list[tuple[str, str]]) -> None:
    """Write both files, the manifest last: what has none is no backup."""
    text = "".join(_sum_line(path, digest) for path, digest in sorted(sums))
    data = text.encode(errors="surrogateescape")
    _put(folder / SUMS, data)
    body = {**asdict(manifest), "sums": sha256(data).hexdigest()}
    _put(folder / MANIFEST, json.dumps(body, indent=2).encode() + b"\n")


def read(folder: Path) -> Manifest:
    """The backup's manifest; raises `OperationFailed` where it is none that we can restore."""
    try:
        body = json.loads((folder / MANIFEST).read_bytes())
        found = Manifest(**body)
    except FileNotFoundError:
        raise OperationFailed(f"{folder} is no backup: it has no {MANIFEST}") from None
    except (OSError, ValueError, TypeError) as fault:
        if isinstance(fault, TypeError) and _format_of(body) != FORMAT:
            raise OperationFailed(_newer(folder)) from None
        raise OperationFailed(f"{folder / MANIFEST} cannot be read: {fault}") from fault
    if found.format != FORMAT:
        raise OperationFailed(_newer(folder))
    return found


def verify(folder: Path, manifest: Manifest) -> int:
    """Check each file of the backup against its sum; how many there are.

    Raises `OperationFailed` naming what is damaged, missing, or was put there later.
    """
    data = (folder / SUMS).read_bytes() if (folder / SUMS).is_file() else b""
    if sha256(data).hexdigest() != manifest.sums:
        raise OperationFailed(f"the backup is damaged: {SUMS} is not what the manifest says")
    expected = dict(map(_read_line, data.decode(errors="surrogateescape").split("\n")[:-1]))
    there = set(_files(folder)) - {MANIFEST, SUMS}
    faults = [f"{path} is missing" for path in sorted(expected.keys() - there)]
    faults += [f"{path} is none of it" for path in sorted(there - expected.keys())]
    faults += [
        f"{path} is damaged"
        for path in sorted(expected.keys() & there)
        if digest_of(folder / path) != expected[path]
    ]
    if faults:
        told = "; ".join(faults[:_MAX_TOLD])
        more = f", and {len(faults) - _MAX_TOLD} more" if len(faults) > _MAX_TOLD else ""
        raise OperationFailed(f"the backup is damaged: {_shown(told)}{more}")
    return len(expected)


def _put(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(data)
        file.flush()
        os.fsync(handle)


def _format_of(body: object) -> object:
    return body.get("format") if isinstance(body, dict) else None


def _newer(folder: Path) -> str:
    return f"{folder} was made by another version of this program: restore it with that one"


def _sum_line(path: str, digest: str) -> str:
    escaped = "".join(_ESCAPES.get(char, char) for char in path)
    return f"{'' if escaped == path else chr(92)}{digest}  {escaped}\n"


def _read_line(line: str) -> tuple[str, str]:
    found = _LINE.fullmatch(line)
    if found is None:
        raise OperationFailed(f"the backup is damaged: {SUMS} cannot be read")
    path = found["path"]
    if found["escaped"]:
        plain = {escape: char for char, escape in _ESCAPES.items()}
        path = re.sub(r"\\.", lambda each: plain.get(each[0], each[0]), path)
    return path, found["sum"]


def _files(folder: Path) -> Iterator[str]:
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            if not path.is_symlink():
                yield str(path.relative_to(folder))


def digest_of(path: Path) -> str:
    """A file's SHA-256; raises OSError."""
    with path.open("rb") as file:
        digest = sha256()
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _shown(text: str) -> str:
    """For a terminal: a name may hold anything."""
    return text.encode(errors="backslashreplace").decode()
