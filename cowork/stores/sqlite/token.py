"""The SQLite store's part for the XO token, encrypted."""

from __future__ import annotations

import sqlite3

from cowork.model import XoToken
from cowork.stores.encryption import Encryption
from cowork.stores.serialization import token_json, token_of
from cowork.stores.sqlite.executor import Transactions
from cowork.stores.sqlite.schema import is_clear


class SqliteToken:
    """Each method is one transaction."""

    def __init__(self, transactions: Transactions, encryption: Encryption) -> None:
        self._transactions = transactions
        self._encryption = encryption

    def find(self) -> XoToken | None:
        return self._decrypted(self._transactions.read(_find))

    def put(self, token: XoToken | None) -> None:
        encrypted = self._encrypted(token)
        self._transactions.write(lambda connection: _put(connection, encrypted), sync=True)

    def compare_and_set(self, expected: str | None, token: XoToken | None) -> bool:
        encrypted = self._encrypted(token)

        def swap(connection: sqlite3.Connection) -> bool:
            held = self._decrypted(_find(connection))
            if (None if held is None else held.access_token) != expected:
                return False
            _put(connection, encrypted)
            return True

        return self._transactions.write(swap, sync=True)

    def _encrypted(self, token: XoToken | None) -> str | None:
        return None if token is None else self._encryption.encrypt(token_json(token)).decode()

    def _decrypted(self, encrypted: str | None) -> XoToken | None:
        if encrypted is None:
            return None
        # A server of an earlier version that is just being replaced writes it in clear.
        decrypted = (
            encrypted if is_clear(encrypted) else self._encryption.decrypt(encrypted.encode())
        )
        return None if decrypted is None else token_of(decrypted)


def _find(connection: sqlite3.Connection) -> str | None:
    row = connection.execute("SELECT body FROM token").fetchone()
    return None if row is None else str(row[0])


def _put(connection: sqlite3.Connection, encrypted: str | None) -> None:
    connection.execute("DELETE FROM token")
    if encrypted is not None:
        connection.execute("INSERT INTO token VALUES (?)", (encrypted,))
