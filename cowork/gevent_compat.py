"""The one place that asks whether gevent has patched the interpreter, and what hangs on that.

Everything else is written for plain threads, which gevent makes cooperative.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

_Found = TypeVar("_Found")


def is_patched(module: str) -> bool:
    """Whether gevent has replaced what that module of the standard library does."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched(module))


@lru_cache(maxsize=1)
def green() -> Any:
    """gevent, where threads are its greenlets; else None."""
    if not is_patched("threading"):
        return None
    import gevent  # noqa: PLC0415 - only where it is in use anyway

    return gevent


def native(module: str, name: str) -> Callable[..., Any]:
    """What the interpreter itself has under that name, also where gevent has replaced it."""
    monkey = sys.modules.get("gevent.monkey")
    found: Callable[..., Any] = (
        monkey.get_original(module, name)
        if monkey is not None
        else getattr(sys.modules[module], name)
    )
    return found


def native_start() -> Callable[..., Any]:
    """`start_new_thread` as the interpreter has it, also where gevent has replaced it."""
    return native("_thread", "start_new_thread")


def run_in_native_thread(call: Callable[[], _Found]) -> _Found:
    """What `call` gives, run in a real thread where gevent's loop would be held by it."""
    if not is_patched("threading"):
        return call()
    import gevent  # noqa: PLC0415 - only where it is in use anyway

    found: _Found = gevent.get_hub().threadpool.apply(call)
    return found


@contextmanager
def waiting_to_read(fd: int) -> Iterator[Callable[[], None]]:
    """What waits until there is something to read, where the read itself does not."""
    if not is_patched("subprocess"):
        yield lambda: None
        return
    import gevent  # noqa: PLC0415 - only where it is in use anyway

    hub = gevent.get_hub()
    watcher = hub.loop.io(fd, 1)  # for reading
    try:
        yield lambda: hub.wait(watcher)
    finally:
        watcher.close()


def new_event() -> tuple[Any, Any]:
    """An event that a native thread may set, and the loop that has to be told, if there is one."""
    if is_patched("threading"):
        from gevent import get_hub  # noqa: PLC0415 - only where it is in use anyway
        from gevent.event import Event  # noqa: PLC0415

        return get_hub().loop, Event()
    return None, threading.Event()
