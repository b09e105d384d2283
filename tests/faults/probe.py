"""A worker that counts what it holds, for whoever asks it on `PATH`; see `probed.conf.py`.

A Popen object that nobody lets go of, or a greenlet that waits for ever, cannot be seen from
outside.  Loaded in gunicorn's master too, before gevent patches anything.
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

PATH = "/probe-of-the-tests"
# Of the environment: for how many seconds at a time the event loop is stopped; see `_block`.
BLOCKED = "PROBE_BLOCKED"
# gevent's own threads grow to ten, as they are needed, and stay.
POOLED = "_WorkerGreenlet"
# A thread that is kept for the next call waits here, for five seconds at most.
KEPT = "CachedThreadPool._wait_promised"


def post_worker_init(worker: Any) -> None:
    """Answer the probe before the application is asked; gunicorn calls this."""
    worker.wsgi.wsgi_app = _Probe(worker.wsgi.wsgi_app)
    if blocked := float(os.environ.get(BLOCKED, "0")):
        import gevent  # noqa: PLC0415 - not in the master

        gevent.spawn(_block, blocked)


def _block(seconds: float) -> None:
    """Stop the event loop for so long, again and again, as many streams do.

    What happens meanwhile is then noticed at once: a timeout, and what it was the limit of.
    """
    from gevent.monkey import get_original  # noqa: PLC0415 - not in the master

    sleep = get_original("time", "sleep")
    while True:
        sleep(seconds)
        time.sleep(0.001)


class _Probe:
    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH:
            return self._app(environ, start)
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(_counts()).encode()]


def _counts() -> dict[str, Any]:
    # Not before gunicorn's worker has patched what these import.
    from subprocess import Popen  # noqa: PLC0415

    from cowork.claude.process.process import ClaudeProcess  # noqa: PLC0415

    assert gc.isenabled(), "a worker that serves collects no garbage"
    # What was there when the worker had loaded is not among the objects else: a spare's, perhaps.
    gc.unfreeze()
    gc.collect()
    objects = gc.get_objects()
    waiting = Counter(_greenlets(objects))
    pooled = sum(count for calls, count in waiting.items() if POOLED in calls)
    status = Path("/proc/self/status").read_text()
    return {
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,  # noqa: PTH208 - one is the listing's
        "threads": len(os.listdir("/proc/self/task")) - pooled,  # noqa: PTH208
        "greenlets": waiting.total() - pooled,
        # One that has ended may be held by a pool's thread that waits for its next call.
        "children": sum(isinstance(each, Popen) and each.returncode is None for each in objects),
        "processes": sum(isinstance(each, ClaudeProcess) for each in objects),
        "rss_kb": int(status.partition("VmRSS:")[2].split()[0]),
        "waiting": waiting,
    }


def _greenlets(objects: list[Any]) -> Iterator[str]:
    """Where each greenlet waits that has begun and not ended: its last calls, innermost last."""
    from greenlet import greenlet  # noqa: PLC0415

    for each in objects:
        if isinstance(each, greenlet) and each.gr_frame is not None:
            calls = list(_calls(each.gr_frame))
            if KEPT not in calls:
                yield " > ".join(calls[-6:])


def _calls(frame: FrameType | None) -> Iterator[str]:
    if frame is not None:
        yield from _calls(frame.f_back)
        yield frame.f_code.co_qualname
