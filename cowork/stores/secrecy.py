"""Encrypts what is secret before it goes to a store that others may read."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from uuid import uuid4

from cryptography.fernet import Fernet, InvalidToken

from cowork.errors import StoreUnavailable
from cowork.log import logger

log = logger(__name__)


class Secrecy:
    """Fernet with the key in a file of its owner's alone, which is made when first needed."""

    def __init__(self, key_file: Path) -> None:
        self._file = key_file
        self._lock = threading.Lock()
        self._fernet: Fernet | None = None

    def hide(self, text: str) -> bytes:
        """`text`, encrypted; raises `StoreUnavailable` where the key cannot be read or made."""
        return self._key().encrypt(text.encode())

    def show(self, hidden: bytes) -> str | None:
        """What was hidden; None where it was hidden with another key."""
        try:
            return self._key().decrypt(hidden).decode()
        except InvalidToken:
            log.warning("the stored token was encrypted with another key", file=str(self._file))
            return None

    def _key(self) -> Fernet:
        with self._lock:
            if self._fernet is None:
                try:
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
