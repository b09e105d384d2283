"""Which turn an idempotency key was first used for."""

from __future__ import annotations

from cowork.model import TurnKey


class IdempotencyKeys:
    """Of each key the turn's id and the digest it came with; not thread-safe, as `EndedTurns`."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[str, str]] = {}
        self._keys_of: dict[str, list[tuple[str, str]]] = {}

    def find(self, key: TurnKey) -> tuple[str, str] | None:
        return self._found.get((key.owner, key.key))

    def bind(self, key: TurnKey, turn_id: str) -> None:
        self._found[key.owner, key.key] = turn_id, key.digest
        self._keys_of.setdefault(turn_id, []).append((key.owner, key.key))

    def forget(self, turn_id: str) -> None:
        """Its keys find nothing from now on, but for those that find another turn by now."""
        for key in self._keys_of.pop(turn_id, ()):
            if self._found.get(key, ("",))[0] == turn_id:
                del self._found[key]
