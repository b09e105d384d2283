"""Where state is kept: one protocol (`base.py`), a file for each kind, opened by URL."""

from __future__ import annotations

from cowork.stores.base import Store
from cowork.stores.memory import MemoryStore


def open_store(url: str, *, outbox_limit: int) -> Store:
    """Open the store that `url` names; raises ValueError for a scheme that nobody serves."""
    if url == "memory://":
        return MemoryStore(outbox_limit=outbox_limit)
    raise ValueError(f"no store is known for {url!r}; use memory://")
