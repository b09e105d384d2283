"""Counts what CLIs say that this server does not know, and tells of each once a version."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence

from cowork.log import logger

log = logger(__name__)

# Names that are counted apart; all further ones are `OTHER`.
NAMES_LIMIT = 100
# Pairs of name and version that were told of.
TOLD_LIMIT = 1000
OTHER = "other"


class UnknownEvents:
    """Of all processes of this server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._told: set[tuple[str, str | None]] = set()

    def saw(self, names: Sequence[str], version: str | None) -> None:
        """A CLI of that version has said this (`vocabulary.unknown_in`)."""
        for name in names:
            with self._lock:
                is_apart = name in self._counts or len(self._counts) < NAMES_LIMIT
                self._counts[name if is_apart else OTHER] += 1
                is_news = (name, version) not in self._told and len(self._told) < TOLD_LIMIT
                if is_news:
                    self._told.add((name, version))
            if is_news:
                log.warning("unknown event of the CLI, passed over", name=name, version=version)

    def counts(self) -> Mapping[str, int]:
        """How often each was said since the start."""
        with self._lock:
            return dict(self._counts)
