"""A limit on failed keys, by the address that they come from."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

MAX_FAILED_KEYS = 30
WINDOW_S = 60.0
MAX_ADDRESSES = 4096


class FailedKeyLimiter:
    """Rate limit: `MAX_FAILED_KEYS` wrong keys in `WINDOW_S` seconds from one address."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def record_failure(self, source: str) -> int | None:
        """Count one more; the whole seconds to wait where there were too many."""
        now = self._now()
        with self._lock:
            begun, count = self._windows.get(source, (now, 0))
            if now - begun >= WINDOW_S:
                self._windows.pop(source, None)
                begun, count = now, 0
            if count >= MAX_FAILED_KEYS:
                return max(1, math.ceil(begun + WINDOW_S - now))
            self._windows[source] = begun, count + 1
            if len(self._windows) > MAX_ADDRESSES:
                self._windows.popitem(last=False)
        return None
