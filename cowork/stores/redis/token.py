"""The Redis store's part for the XO token, encrypted."""

from __future__ import annotations

from cowork.errors import StoreUnavailable
from cowork.model import XoToken
from cowork.stores.encryption import Encryption
from cowork.stores.redis import session_scripts
from cowork.stores.redis.connection import RedisConnection
from cowork.stores.redis.keys import PREFIX
from cowork.stores.serialization import token_json, token_of

# How often it is replaced while others do so.
_TRIES = 5


class RedisToken:
    """Each method is one command or one script, but for `compare_and_set`."""

    def __init__(self, connection: RedisConnection, encryption: Encryption) -> None:
        self._connection = connection
        self._run = connection.script
        self._encryption = encryption

    def find(self) -> XoToken | None:
        return self._token(self._encrypted_token())

    def put(self, token: XoToken | None) -> None:
        encrypted = self._encrypted(token)
        if encrypted:
            self._connection.call(lambda redis: redis.set(f"{PREFIX}token", encrypted))
        else:
            self._connection.call(lambda redis: redis.delete(f"{PREFIX}token"))

    def compare_and_set(self, expected: str | None, token: XoToken | None) -> bool:
        new = self._encrypted(token)
        for _ in range(_TRIES):
            encrypted = self._encrypted_token()
            held = self._token(encrypted)
            if (None if held is None else held.access_token) != expected:
                return False
            if self._run(session_scripts.COMPARE_AND_SET_TOKEN, [encrypted, new]):
                return True
        raise StoreUnavailable("the token changes all the time", retry_after=1)

    def _encrypted_token(self) -> bytes:
        return self._connection.call(lambda redis: redis.get(f"{PREFIX}token")) or b""

    def _encrypted(self, token: XoToken | None) -> bytes:
        return b"" if token is None else self._encryption.encrypt(token_json(token))

    def _token(self, encrypted: bytes) -> XoToken | None:
        decrypted = self._encryption.decrypt(encrypted) if encrypted else None
        return None if decrypted is None else token_of(decrypted)
