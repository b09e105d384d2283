"""Runs `load.py` in a process of its own, and readies the server for it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

from bench import fake
from bench.cli import Timing
from bench.loop import BLOCK, connect, request
from bench.plan import Plan, Requests, Streams, dump
from bench.server import ROOT, Server
from bench.setup import Setup

BATCH = 50
WARM_LIMIT = 60.0
TURN_LIMIT = 60.0
SPARE_WAIT = 20.0
# A process that has just started is still busy with itself.
SETTLE = 1.0
_LAST = re.compile(rb'"done": true.*"success": (true|false)')
_DONE = re.compile(rb"data: \[DONE\]")
_CHUNK = re.compile(rb"^data: (\{.*\})", re.MULTILINE)
# The one before it has the role, and no text.
_FIRST_CHUNK = b'"delta":{"content":'


class Target(Protocol):
    """What a load is put on: the port it serves, and the process whose CPU time counts."""

    @property
    def port(self) -> int: ...
    @property
    def worker(self) -> int: ...


def load(
    server: Target,
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


def faked(setup: Setup, name: str, projects: int, **more: str) -> Server:
    """A server over the fake CLI, for so many projects; all but `more` is as by default."""
    settings = {
        "COWORK_MAX_PROCESSES": str(projects + 1),
        "COWORK_SPARE_PROCESSES": "0",
        "COWORK_QUEUE_TIMEOUT": "120",  # a thousand processes take their time to start
        **more,
    }
    return serve(setup, name, setup.fake.path, **settings)


def serve(setup: Setup, name: str, claude: Path | str, **environ: str) -> Server:
    """A server of a suite's own; keyword arguments are its settings."""
    profile = setup.profile / f"{name}.txt" if setup.profile else None
    return Server(setup.folder / name, claude, profile=profile, **environ)


def warm(server: Target, count: int) -> None:
    """See that the first `count` projects have their resident processes; ends the run if not."""
    for first in range(0, count, BATCH):
        wanted = Streams(min(BATCH, count - first), fake.question(1), tokens=1, first=first)
        found = load(server, streams=wanted, limit_s=WARM_LIMIT)["streams"]
        if found["errors"]:
            raise RuntimeError(f"the server could not be warmed up: {found['shown_errors']}")


def await_spare(server: Server) -> None:
    """Wait until the next new session finds a process ready for it, and the CPUs quiet."""
    deadline = time.monotonic() + SPARE_WAIT
    while time.monotonic() < deadline:
        if server.request("GET", "/health")[1]["processes"].get("spare"):
            break
        time.sleep(0.05)
    time.sleep(SETTLE)


def stream(server: Server, project: str, question: str) -> Timing:
    """One streamed turn on a connection of its own, from before it is opened."""
    body = json.dumps({"project_name": project, "question": question})
    timing, seen = _timed(server, "/ask_question_streaming", body, b'"type": "token"', _LAST)
    if (last := _LAST.search(seen)) is None or last[1] != b"true":
        raise RuntimeError(f"the turn failed: {seen[-500:]!r}")
    return timing


def complete(server: Server, messages: list[dict[str, str]]) -> tuple[Timing, str]:
    """As `stream`, of a chat completion; its answer, too."""
    body = json.dumps({"messages": messages, "stream": True})
    timing, seen = _timed(server, "/v1/chat/completions", body, _FIRST_CHUNK, _DONE)
    chunks = [json.loads(found) for found in _CHUNK.findall(seen)]
    if any("error" in chunk for chunk in chunks):
        raise RuntimeError(f"the turn failed: {seen[-500:]!r}")
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return timing, "".join(delta.get("content") or "" for delta in deltas)


def _timed(
    server: Server, path: str, body: str, first_token: bytes, last: re.Pattern[bytes]
) -> tuple[Timing, bytes]:
    """When a stream had its first token and its end, and all of it."""
    begun = time.monotonic()
    first = None
    seen = b""
    with connect(server.port) as sock:
        sock.settimeout(TURN_LIMIT)
        sock.sendall(request(path, body, close=True))
        while not last.search(seen):
            block = sock.recv(BLOCK)
            if not block:
                raise RuntimeError(f"the stream ended early: {seen[-500:]!r}")
            seen += block
            if first is None and first_token in seen:
                first = time.monotonic()
        ended = time.monotonic()
    if first is None:
        raise RuntimeError(f"the turn failed: {seen[-500:]!r}")
    return Timing((first - begun) * 1000, (ended - begun) * 1000), seen
