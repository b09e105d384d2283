"""Calls that run beside a test."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class BackgroundCalls:
    """Runs calls beside the test; each gives a future."""

    def __init__(self, threads: int = 16) -> None:
        self._threads = ThreadPoolExecutor(threads)

    def __call__(self, call: Callable[..., Any], *given: Any, **named: Any) -> Future[Any]:
        return self._threads.submit(call, *given, **named)

    def close(self) -> None:
        """Wait for the calls that run; those that have not begun never do."""
        self._threads.shutdown(cancel_futures=True)
