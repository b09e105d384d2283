"""Searches all that the suite's servers say for the secrets that they were given.

What a server is told to keep is known to the mask of its log, and that is where this learns of
it.  No reply, no line that is printed, no file of a log and no command line may hold any of it.
"""

from __future__ import annotations

import os
from pathlib import Path

from cowork import log
from tests import processes

# Shorter ones are words that tests use for other things too.
LENGTH = 12
_GIVEN = ("CHAT_API_TOKEN", "XO_POLL_TOKEN", "ANTHROPIC_API_KEY")

_told: set[str] = set()
_found: list[str] = []


def learn(environ: dict[str, str]) -> None:
    """The secrets that a server of its own process is given."""
    _told.update(environ.get(name, "") for name in _GIVEN)
    pairs = environ.get("COWORK_API_KEYS", "").split(",")
    _told.update(pair.partition("=")[2].strip() for pair in pairs)


def search(place: str, said: bytes | str) -> None:
    """Note every secret in what was said there; `found` tells of them."""
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    for secret in (*_told, *log._secrets):
        if len(secret) >= LENGTH and secret in text:
            at = text.index(secret)
            _found.append(f"{place}: ...{text[max(0, at - 60) : at]}<{len(secret)} characters>")


def search_processes() -> None:
    """Search the command lines of all that this process has started, and of what those have."""
    for pid in processes.descendants(os.getpid()):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue  # it has ended
        search("a command line", line.replace(b"\0", b" "))


def found() -> list[str]:
    """What was found since this was asked last."""
    seen, _found[:] = [*_found], []
    return seen
