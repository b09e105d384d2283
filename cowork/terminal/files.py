"""What a question brings along: files, and what comes on standard input."""

from __future__ import annotations

import os
import select
import stat
import sys
from pathlib import Path
from typing import BinaryIO

import click

from cowork.client import Attachment, attachment
from cowork.client.questions import MAX_ATTACHED_BYTES
from cowork.terminal.output import Output

# A pipe that nobody writes to is left alone after this; its first byte is waited for.
FIRST_BYTE_S = 3.0
MAX_QUESTION_BYTES = 16 * 2**20


def attached(paths: tuple[str, ...]) -> list[Attachment]:
    """The files as the server takes them.  Raises `click.UsageError`."""
    left, found = MAX_ATTACHED_BYTES, []
    for path in paths:
        try:
            with Path(path).open("rb") as file:
                content = _bounded(file, left, path)
        except OSError as fault:
            raise click.UsageError(f"{path} cannot be read: {fault.strerror}") from None
        found.append(_attachment(content, Path(path).name, path))
        left -= len(content)
    return found


def from_pipe(output: Output) -> bytes:
    """What comes on standard input beside a question; nothing where it is a terminal.

    Whoever starts this in a loop or from a service may have left a pipe open that says nothing.
    """
    if sys.stdin is None or sys.stdin.isatty():
        return b""
    mode = _mode()
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        if not select.select([sys.stdin], [], [], FIRST_BYTE_S)[0]:
            output.note("nothing comes on standard input: asked without it", style="dim")
            return b""
    elif not stat.S_ISREG(mode):
        return b""
    return _bounded(sys.stdin.buffer, MAX_ATTACHED_BYTES, "standard input")


def question_from_pipe() -> str:
    """The question itself, to the end of standard input.  Raises `click.UsageError`."""
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError("nothing is asked: give a question, or pipe one in")
    content = _bounded(sys.stdin.buffer, MAX_QUESTION_BYTES, "standard input")
    try:
        question = content.decode().strip()
    except UnicodeDecodeError:
        raise click.UsageError("the question on standard input is not UTF-8 text") from None
    if not question:
        raise click.UsageError("nothing is asked: standard input is empty")
    return question


def piped(content: bytes) -> list[Attachment]:
    """What came on standard input, as an attachment.  Raises `click.UsageError`."""
    return [_attachment(content, "stdin", "standard input")] if content.strip() else []


def _attachment(content: bytes, name: str, place: str) -> Attachment:
    try:
        return attachment(content, name)
    except ValueError as fault:
        raise click.UsageError(f"{place} cannot be attached: {fault}") from None


def _bounded(file: BinaryIO, limit: int, place: str) -> bytes:
    content = file.read(limit + 1)
    if len(content) > limit:
        raise click.UsageError(f"{place} is too large: {limit / 2**20:g} MiB at most")
    return content


def _mode() -> int:
    try:
        return os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return 0
