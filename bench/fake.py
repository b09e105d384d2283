"""The fake CLI: built from C where there is a compiler, and shown to be faster than the server."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "fake_cli.c"
BUILD_TIMEOUT = 60.0
RATE_TIMEOUT = 60.0
BLOCK = 64 * 1024
MESSAGE = b'{"type":"user","message":{"role":"user","content":"%b"},"uuid":"%b"}\n'
_IDLE = b'"state":"idle"'


class NoCompilerError(Exception):
    """There is no C compiler on PATH."""


@dataclass(frozen=True, slots=True)
class Fake:
    """An executable that plays the CLI; `timed` is whether it can put times into its tokens."""

    path: Path
    kind: str
    timed: bool


def build(folder: Path) -> Fake:
    """The fake made from `fake_cli.c`, in `folder`.

    Raises as `compiled`.
    """
    return Fake(compiled(SOURCE, folder / "fake-claude"), "C", timed=True)


def compiled(source: Path, path: Path) -> Path:
    """The program made from a C source, at `path`.

    Raises `NoCompilerError`, and `subprocess.CalledProcessError` where it cannot be compiled.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NoCompilerError("no cc and no gcc on PATH")
    argv = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(path), str(source)]
    subprocess.run(argv, check=True, timeout=BUILD_TIMEOUT)
    return path


def build_or_borrow(folder: Path) -> Fake:
    """The C fake, or the tests' Python one with a warning: figures are bounded by it then."""
    try:
        return build(folder)
    except NoCompilerError as fault:
        from tests import fake_claude  # noqa: PLC0415 - only where there is nothing better

        print(f"warning: {fault}: the Python fake bounds what is measured; install gcc")
        return Fake(fake_claude.install(folder), "Python", timed=False)


def question(tokens: int, *, rate: int = 0, together: bool = False, block: int = 1) -> str:
    """What makes the fake write so many tokens, flat out or at a rate.

    `together` is for `load.py`, which fills in when all begin.
    """
    parts = [f"tokens={tokens}", f"block={block}"]
    parts += [f"rate={rate}"] if rate else []
    parts += ["at={at} phase={phase}"] if together else []
    return " ".join(parts)


def bare_rate(fake: Fake, tokens: int, *, block: int = 1) -> float:
    """Tokens a second from the fake alone to a reader that only counts lines."""
    child = subprocess.Popen(
        [fake.path, "--session-id=bare"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        try:
            asked = question(tokens, block=block).encode()
            os.write(child.stdin.fileno(), MESSAGE % (asked, b"bare-1"))
            return tokens / _drain(child.stdout.fileno())
        finally:
            child.kill()


def _drain(descriptor: int) -> float:
    """Seconds from the first byte to the turn's end."""
    begun: float | None = None
    tail = b""
    deadline = time.monotonic() + RATE_TIMEOUT
    while _IDLE not in tail:
        if not select.select([descriptor], [], [], deadline - time.monotonic())[0]:
            break
        block = os.read(descriptor, BLOCK)
        if not block:
            break
        begun = begun or time.monotonic()
        block.count(b"\n")
        tail = (tail + block)[-1024:]
    if begun is None or _IDLE not in tail:
        sys.exit("the fake CLI did not end its turn")
    return time.monotonic() - begun
