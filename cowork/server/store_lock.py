"""Keeps a second server off a SQLite file: what one worker's memory orders, two would not."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from cowork.stores import sqlite_path

SUFFIX = ".lock"


class StoreLock:
    """The lock beside a SQLite store's file.

    Held by gunicorn's master, so that a reload's two workers are no second server.  It belongs to
    the process, not to what is forked from it, so that it is free as soon as that has died.
    """

    def __init__(self) -> None:
        self._handle: int | None = None

    def acquire(self, url: str) -> str | None:
        """Lock the store of that URL; why it cannot be, or None, also where it needs no lock."""
        if not url.startswith("sqlite:"):
            return None
        path = sqlite_path(url)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = path.resolve()
        lock = path.with_name(path.name + SUFFIX)
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(lock, flags, 0o600)
        except OSError as fault:
            return f"COWORK_STORE: {lock} cannot be opened: {fault.strerror}"
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
            os.close(handle)
            return (
                f"COWORK_STORE: another server ({_holder_text(holder)}) uses {path}: stop it, name "
                "another file, or set COWORK_STORE=redis://host:port/db for both"
            )
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._handle = handle
        return None

    def release(self) -> None:
        """Give it back; without it the end of the process does."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


# Of this process, which gunicorn's master is.
store_lock = StoreLock()


def _holder_text(holder: str) -> str:
    return f"process {holder}" if holder.isdigit() and Path(f"/proc/{holder}").exists() else "one"
