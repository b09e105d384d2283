"""W3C `traceparent`: which trace of its caller's a request belongs to.

https://www.w3.org/TR/trace-context/#traceparent-header
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict

HEADER = "traceparent"
# Of the version that there is; of a later one no more is known than that it begins like this.
_KNOWN = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}")
# Turns whose messages may still be on their way to the Chat API.
MAX_TURNS = 10_000


def parse(given: str | None) -> str | None:
    """The header as it was given, None for what is none: that is ignored, as the standard says."""
    found = _KNOWN.fullmatch(given) if given is not None else None
    if found is None or not found["trace"].strip("0") or not found["parent"].strip("0"):
        return None
    return given


class Traces:
    """Of turns whose chat messages wait, which trace they belong to: the latest `MAX_TURNS`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: OrderedDict[str, str] = OrderedDict()

    def put(self, turn_id: str, traceparent: str | None) -> None:
        if traceparent is None:
            return
        with self._lock:
            self._of[turn_id] = traceparent
            if len(self._of) > MAX_TURNS:
                self._of.popitem(last=False)

    def of_message(self, message_id: str) -> str | None:
        """By a chat message's id: its turn's, and which message of it."""
        with self._lock:
            return self._of.get(message_id.rpartition("-")[0])
