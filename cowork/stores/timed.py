"""A store whose every call is timed and, where it fails, counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from cowork.errors import StoreUnavailable
from cowork.stores.protocol import Store
from cowork.telemetry.catalogue import STORE_DURATION, STORE_ERRORS
from cowork.telemetry.metrics import Metrics


def timed(store: Store, metrics: Metrics) -> Store:
    """The store, its own methods timed under their names; what it says of itself is as it was.

    `others` is not: most of what workers ask of it waits for somebody.
    """
    return cast("Store", _Timed(store, metrics))


class _Timed:
    """Hands each call on; a method is wrapped when it is first asked for."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found) or name in {"close", "others"}:
            return found  # asked for each time: it may be another one then
        wrapped = _timed_call(found, name, self._metrics)
        setattr(self, name, wrapped)
        return wrapped


def _timed_call(call: Callable[..., Any], name: str, metrics: Metrics) -> Callable[..., Any]:
    @wraps(call)
    def timed_call(*args: Any, **kwargs: Any) -> Any:
        begun = time.monotonic()
        try:
            return call(*args, **kwargs)
        except StoreUnavailable:
            metrics.count(STORE_ERRORS, name)
            raise
        finally:
            metrics.observe(STORE_DURATION, time.monotonic() - begun, name)

    return timed_call
