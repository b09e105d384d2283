"""API keys: those of COWORK_API_KEYS, and those of a file that is read again when it changes.

Keys are kept as digests.  No key, and no part of one, is ever in a fault or in the log.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from cowork import log as logging

log = logging.logger(__name__)

MIN_KEY_CHARS = 32
MAX_KEY_CHARS = 1024
MAX_FILE_BYTES = 2**20
# The file is checked so often at most, and only when a request comes.
RELOAD_INTERVAL_S = 1.0
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY = re.compile(r"[!-~]*")


class KeyOwner(NamedTuple):
    """Whoever has shown a key: its name, and the digest of the very key."""

    name: str
    digest: bytes

    @property
    def fingerprint(self) -> str:
        """What a store may keep of the key."""
        return hashlib.blake2b(self.digest, digest_size=16).hexdigest()


def parse_pairs(items: Iterable[str]) -> dict[str, str]:
    """Keys by name from `name=key` items; raises ValueError, which names no part of any."""
    keys: dict[str, str] = {}
    for item in items:
        name, equals, key = item.partition("=")
        if not equals or not _NAME.fullmatch(name) or not _KEY.fullmatch(key):
            raise ValueError("expected name=key pairs, names of letters, digits and . _ -")
        if key[:1] in {'"', "'"} and key.endswith(key[0]):
            raise ValueError("expected keys without quotes: they would be part of the key")
        if not MIN_KEY_CHARS <= len(key) <= MAX_KEY_CHARS:
            raise ValueError(f"expected keys of at least {MIN_KEY_CHARS} characters")
        if name in keys or key in keys.values():
            raise ValueError("expected each name and each key once")
        keys[name] = key
    return keys


def read_file(file: Path) -> dict[str, str]:
    """The keys of a file: `name=key` a line; blank lines and those with `#` in front say nothing.

    Raises OSError, and ValueError as `parse_pairs` does.
    """
    with file.open("rb") as source:
        content = source.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"expected at most {MAX_FILE_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("expected UTF-8 text") from None  # the fault would quote it
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        pair = line.strip()
        if not pair or pair.startswith("#"):
            continue
        pairs.append(pair)
        try:
            parse_pairs([pair])
        except ValueError as fault:
            raise ValueError(f"line {number}: {fault}") from None
    return parse_pairs(pairs)


class ApiKeys:
    """Who holds which key now.

    A file that has become unreadable or wrong leaves the last good one in force, with an error
    in the log; an emptied one lets nobody in any more.
    """

    def __init__(
        self,
        given: Mapping[str, str],
        file: Path | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.required = bool(given) or file is not None
        self._given = dict(given)
        self._file = file
        self._now = now
        self._lock = threading.Lock()
        self._file_version: object = None
        self._next_check = float("-inf")
        self._names = _digests(given)
        self._on_reload: Callable[[], None] = lambda: None
        self._reload_if_changed()

    @property
    def reloadable(self) -> bool:
        """Whether a key that is good now may be none later."""
        return self._file is not None

    def on_reload(self, call: Callable[[], None]) -> None:
        """Have `call` called, from any thread, whenever the file was read again."""
        self._on_reload = call

    def __len__(self) -> int:
        return len(self._names)

    @property
    def names(self) -> frozenset[str]:
        """The names that keys have, as of the last reload."""
        return frozenset(self._names.values())

    def find(self, key: str) -> KeyOwner | None:
        """Who holds this key; every key is compared, in constant time, whichever matches."""
        self._reload_if_changed()
        digest = _digest(key)
        found = None
        for known, name in self._names.items():
            if hmac.compare_digest(known, digest):
                found = KeyOwner(name, known)
        return found

    def find_by_fingerprint(self, name: str, fingerprint: str) -> KeyOwner | None:
        """Whoever holds the key of this name and fingerprint, None where it is no longer valid."""
        self._reload_if_changed()
        found = (KeyOwner(name, digest) for digest, each in self._names.items() if each == name)
        return next((each for each in found if each.fingerprint == fingerprint), None)

    def is_valid(self, key_owner: KeyOwner) -> bool:
        """Whether the key that was shown is good yet."""
        self._reload_if_changed()
        return self._names.get(key_owner.digest) == key_owner.name

    def _reload_if_changed(self) -> None:
        """Read the file again where it has changed; never twice at once."""
        if (
            self._file is None
            or self._now() < self._next_check
            or not self._lock.acquire(blocking=False)
        ):
            return
        try:
            self._next_check = self._now() + RELOAD_INTERVAL_S
            version = _file_version(self._file)
            if version != self._file_version:
                self._file_version = version
                self._reload(self._file)
        finally:
            self._lock.release()

    def _reload(self, file: Path) -> None:
        try:
            found = read_file(file)
            if found.keys() & self._given.keys() or set(found.values()) & set(self._given.values()):
                raise ValueError("expected no name and no key of COWORK_API_KEYS")  # noqa: TRY301
        except (OSError, ValueError) as fault:
            log.error("API keys file unusable, the last valid keys stay in force", error=fault)
            return
        logging.register_secret(*found.values())
        self._names = _digests({**self._given, **found})
        log.info("API keys file reloaded", keys=len(found))
        self._on_reload()


class Operators:
    """Whose keys may do what concerns everybody: `admins` all of it, others a part of it.

    `login` may do the XO login too, `metrics` read `/metrics`; all are names of keys.  Without
    keys every caller is an operator; with keys and no `admins` it is the owner of the one key
    where there is one, and nobody where there are more.
    """

    def __init__(
        self,
        keys: ApiKeys,
        admins: Iterable[str],
        login: Iterable[str] = (),
        metrics: Iterable[str] = (),
    ) -> None:
        self._keys = keys
        self._admins = frozenset(admins)
        self._login = frozenset(login)
        self._metrics = frozenset(metrics)
        keys.on_reload(self.check)

    def may_administer(self, key_owner: KeyOwner | None) -> bool:
        """Whether this caller, whom the guard let in, is an operator."""
        if not self._keys.required:
            return True
        return key_owner is not None and key_owner.name in self._operators()

    def may_login(self, key_owner: KeyOwner | None) -> bool:
        """Whether this caller may begin, finish and end the XO login."""
        return self.may_administer(key_owner) or (
            key_owner is not None and key_owner.name in self._login
        )

    def may_read_metrics(self, key_owner: KeyOwner | None) -> bool:
        """Whether this caller may read `/metrics`; who is on this machine needs no key for it."""
        return self.may_administer(key_owner) or (
            key_owner is not None and key_owner.name in self._metrics
        )

    def _operators(self) -> frozenset[str]:
        names = self._keys.names
        if self._admins:
            return self._admins
        return names if len(names) == 1 else frozenset()

    def check(self) -> None:
        """Say so in the log where a setting names no key, or nobody may log in."""
        if not self._keys.required:
            return
        names = self._keys.names
        for variable, named in (
            ("COWORK_ADMIN_KEYS", self._admins),
            ("COWORK_LOGIN_KEYS", self._login),
            ("COWORK_METRICS_KEYS", self._metrics),
        ):
            if unknown := named - names:
                log.warning(
                    "setting names unknown API keys",
                    setting=variable,
                    names=", ".join(sorted(unknown)),
                )
        if not names & (self._operators() | self._login):
            log.warning(
                "no key may begin or end the XO login: name some in COWORK_ADMIN_KEYS or "
                "COWORK_LOGIN_KEYS"
            )


def _digests(keys: Mapping[str, str]) -> dict[bytes, str]:
    return {_digest(key): name for name, key in keys.items()}


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _file_version(file: Path) -> object:
    """What changes with the file's content; None where there is no file."""
    try:
        seen = os.stat(file)  # noqa: PTH116 - a hot path
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_ino, seen.st_size
