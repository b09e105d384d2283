"""Random UUIDs; the kernel is asked for the randomness of many at a time."""

from __future__ import annotations

import os
from collections import deque
from uuid import UUID

_SIZE = 16
_MANY = 256
_random: deque[bytes] = deque()
# Else two processes would give out the same ones.
os.register_at_fork(after_in_child=_random.clear)


def new_uuid() -> UUID:
    """As `uuid.uuid4`, from any thread."""
    try:
        own = _random.pop()
    except IndexError:
        block = os.urandom(_SIZE * _MANY)
        own = block[:_SIZE]
        _random.extend(block[at : at + _SIZE] for at in range(_SIZE, len(block), _SIZE))
    return UUID(bytes=own, version=4)
