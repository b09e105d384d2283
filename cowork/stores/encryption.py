"""Encrypts what is secret before it goes to a store, and says which files can be trusted."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from uuid import uuid4

from cryptography.fernet import Fernet, InvalidToken

from cowork.errors import StoreUnavailable
from cowork.log import logger

log = logger(__name__)

ROOT = 0


def check_folder(folder: Path) -> None:
    """Raise ValueError where others could put files of theirs in the place of ours."""
    found = folder.stat()
    if found.st_uid not in {ROOT, os.geteuid()}:
        raise ValueError(f"{folder} belongs to another user: chown it, or name another place")
    if _others_write(found) and not found.st_mode & stat.S_ISVTX:
        raise ValueError(f"others may write to {folder}: chmod go-w it, or name another place")


def check_file(path: Path) -> None:
    """Raise ValueError for a file of somebody else's, or one that others may write to."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is no file")
    if found.st_uid != os.geteuid():
        raise ValueError(f"{path} belongs to another user: chown it, or name another place")
    if _others_write(found):
        raise ValueError(f"others may write to {path}: chmod 600 it, if you trust what is in it")


def _others_write(found: os.stat_result) -> bool:
    # A user's own group has, as a rule, nobody else in it.
    theirs = found.st_mode & stat.S_IWGRP and found.st_gid != os.getegid()
    return bool(theirs or found.st_mode & stat.S_IWOTH)


class Encryption:
    """Fernet with the key in a file of its owner's alone, which is made when first needed."""

    def __init__(self, key_file: Path) -> None:
        self._file = key_file
        self._lock = threading.Lock()
        self._fernet: Fernet | None = None
        self._unknown: bytes | None = None

    def check(self) -> None:
        """Raise ValueError for a key that others may read, or could put in the place of ours."""
        path = self._file.resolve()
        if not path.exists():
            return
        check_folder(path.parent)
        found = path.stat()
        # What an orchestrator hands in as root's is read by way of our group, as a rule.
        ours = found.st_uid == os.geteuid()
        if not ours and found.st_uid != ROOT:
            raise ValueError(f"{path} belongs to another user: chown it, or name another file")
        if found.st_mode & (0o077 if ours else 0o037):
            raise ValueError(f"others may read or write {path}: chmod 600 it")

    def encrypt(self, text: str) -> bytes:
        """`text`, encrypted; raises `StoreUnavailable` where the key cannot be read or made."""
        return self.encrypt_bytes(text.encode())

    def encrypt_bytes(self, data: bytes) -> bytes:
        """As `encrypt`."""
        return self._key().encrypt(data)

    def decrypt(self, encrypted: bytes) -> str | None:
        """The text; None where it was encrypted with another key, which the log says once."""
        try:
            return self.decrypt_bytes(encrypted).decode()
        except InvalidToken:
            if encrypted != self._unknown:
                log.warning("the stored token was encrypted with another key", file=str(self._file))
            self._unknown = encrypted
            return None

    def decrypt_bytes(self, encrypted: bytes) -> bytes:
        """What was encrypted; raises `InvalidToken` where that was with another key."""
        return self._key().decrypt(encrypted)

    def _key(self) -> Fernet:
        with self._lock:
            if self._fernet is None:
                try:
                    self.check()
                    self._fernet = Fernet(self._read() or self._make())
                except (OSError, ValueError) as fault:
                    raise StoreUnavailable(
                        "the key that the token is encrypted with cannot be used; "
                        "see COWORK_STORE_KEY_FILE",
                        retry_after=60,
                    ) from fault
            return self._fernet

    def _read(self) -> bytes | None:
        try:
            return self._file.read_bytes().strip()
        except FileNotFoundError:
            return None

    def _make(self) -> bytes:
        """A new key, whole at once: another process may be making one too, and the first counts."""
        if not self._file.parent.exists():
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._file.with_name(f"{self._file.name}.{uuid4().hex}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(handle, Fernet.generate_key())
        finally:
            os.close(handle)
        try:
            os.link(draft, self._file)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return self._file.read_bytes().strip()
