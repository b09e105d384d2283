"""The load: many connections in one process of its own, as cheap as Python makes it.

`python -m bench.load` reads a `Plan` as JSON from stdin and prints what it saw as JSON.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
import time
from typing import Any

from bench.asking import RequestLoad
from bench.loop import SECOND, Loop
from bench.plan import Plan, parse
from bench.streaming import StreamLoad


def run(plan: Plan) -> dict[str, Any]:
    """Do what the plan says; what each part saw."""
    loop = Loop()
    try:
        streams = StreamLoad(plan, plan.streams, loop) if plan.streams else None
        begin = streams.begin if streams else time.monotonic_ns() + SECOND // 5
        requests = RequestLoad(plan, plan.requests, loop, begin) if plan.requests else None
        parts = {"streams": streams, "requests": requests}
        present = {name: part for name, part in parts.items() if part is not None}
        until = time.monotonic_ns() + int(plan.limit_s * SECOND)
        loop.run(until, lambda: all(part.done() for part in present.values()))
        return {name: part.found() for name, part in present.items()}
    finally:
        loop.close()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is the bench's to talk about
    gc.disable()  # there are no cycles, and a collection would count as the server's delay
    print(json.dumps(run(parse(sys.stdin.buffer.read()))))
