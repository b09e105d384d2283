"""Runs `load.py` in a process of its own, and readies the server for it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from bench import fake
from bench.load import Plan, Requests, Streams, dump
from bench.server import ROOT, Server

BATCH = 50
WARM_LIMIT = 60.0


def load(
    server: Server,
    *,
    streams: Streams | None = None,
    requests: Requests | None = None,
    limit_s: float = 60.0,
) -> dict[str, Any]:
    """What a load saw of the server: see `load.py`; at most about `limit_s` seconds."""
    plan = Plan(server.port, server.worker, limit_s, streams, requests)
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=dump(plan),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        check=True,
        timeout=limit_s + 30.0,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def warm(server: Server, count: int) -> None:
    """See that the first `count` projects have their resident processes; ends the run if not."""
    for first in range(0, count, BATCH):
        wanted = Streams(min(count, first + BATCH), fake.question(1), tokens=1, lead_s=0.0)
        found = load(server, streams=wanted, limit_s=WARM_LIMIT)["streams"]
        if found["errors"]:
            raise RuntimeError(f"the server could not be warmed up: {found['shown_errors']}")
