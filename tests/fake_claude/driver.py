"""Speaks to a `claude`, the fake or the real one, as a test wants to: ask, wait, look.

Works with and without gevent's patches.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from tests.patience import PATIENCE_S

Event = dict[str, Any]

ARGUMENTS = (
    "--print",
    "--verbose",
    "--input-format=stream-json",
    "--output-format=stream-json",
    "--include-partial-messages",
    "--setting-sources=user",
    "--strict-mcp-config",
    "--permission-mode=default",
)
ENVIRONMENT = {
    "CLAUDE_CODE_EAGER_FLUSH": "1",
    "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    "CLAUDE_CODE_DISABLE_CRON": "1",
}
_BLOCK = 1 << 16


class Cli:
    """One resident process, in `directory`, with `directory/home` as its HOME.

    `events` are the JSON objects of its stdout, `litter` the lines that are none, `cut` what came
    after the last line feed.  Leaving the context kills and reaps it.
    """

    def __init__(
        self,
        executable: Path,
        directory: Path,
        *,
        session: str | None = None,
        resume: str | None = None,
        environment: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = ARGUMENTS,
        reading: bool = True,
    ) -> None:
        self.session = resume or session or str(uuid4())
        self.events: list[Event] = []
        self.litter: list[bytes] = []
        self.cut = b""
        self.errors = b""
        self._changed = threading.Condition()
        self._ended = False
        which = "resume" if resume else "session-id"
        self.process = subprocess.Popen(
            [str(executable), *arguments, f"--{which}={self.session}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env={"HOME": os.fspath(directory / "home"), **ENVIRONMENT, **(environment or {})},
            start_new_session=True,
        )
        self._threads = [threading.Thread(target=self._read_errors, daemon=True)]
        self._threads[0].start()
        if reading:
            self.start_reading()

    # -- what we say

    def ask(self, text: str, uuid: str | None = None) -> str:
        """Send a question; its uuid."""
        uuid = uuid or str(uuid4())
        self.send(question(text, uuid))
        return uuid

    def control(self, subtype: str, **fields: object) -> None:
        """Send a control request; its id is `of-SUBTYPE`."""
        self.send(control_request(subtype, **fields))

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def close_stdin(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    # -- what it says

    def start_reading(self) -> None:
        """Begin to take its stdout."""
        thread = threading.Thread(target=self._read, daemon=True)
        thread.start()
        self._threads.append(thread)

    def wait_for(self, wanted: Callable[[Event], bool], *, after: int = 0) -> Event:
        """The first event from number `after` on that is wanted."""
        looked_at, event = after, None

        def has_come() -> bool:
            nonlocal looked_at, event
            while event is None and looked_at < len(self.events):
                event = self.events[looked_at] if wanted(self.events[looked_at]) else None
                looked_at += 1
            return event is not None or self._ended

        with self._changed:
            in_time = self._changed.wait_for(has_come, PATIENCE_S)
        assert in_time, f"not in {PATIENCE_S} s; so far {self.events[-5:]}, {self.errors!r}"
        assert event is not None, f"it ended; {self.events[-5:]}, {self.errors!r}"
        return event

    def turn(self, text: str) -> list[Event]:
        """Ask, and the turn's events up to its `idle`."""
        first = len(self.events)
        self.ask(text)
        self.wait_for(lambda event: event.get("state") == "idle", after=first)
        return self.events[first:]

    def wait(self) -> int:
        """Its exit code, once it ended and all of its output is here."""
        code = self.process.wait(PATIENCE_S)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        return code

    # -- the rest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        rest: list[bytes] = []
        while block := self.process.stdout.read1(_BLOCK):  # type: ignore[attr-defined]
            rest.append(block)
            if b"\n" in block:
                *lines, last = b"".join(rest).split(b"\n")
                rest = [last]
                self._take(lines)
        with self._changed:
            self.cut = b"".join(rest)
            self._ended = True
            self._changed.notify_all()

    def _take(self, lines: list[bytes]) -> None:
        with self._changed:
            for line in lines:
                event = _parse(line)
                if event is None:
                    self.litter.append(line)
                else:
                    self.events.append(event)
            self._changed.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        while block := self.process.stderr.read1(_BLOCK):  # type: ignore[attr-defined]
            self.errors += block


def question(text: str, uuid: str) -> bytes:
    """A question as a line of stdin."""
    message = {"type": "user", "message": {"role": "user", "content": text}, "uuid": uuid}
    return json.dumps(message).encode() + b"\n"


def control_request(subtype: str, **fields: object) -> bytes:
    """A control request as a line of stdin."""
    request = {"subtype": subtype, **fields}
    message = {"type": "control_request", "request_id": f"of-{subtype}", "request": request}
    return json.dumps(message).encode() + b"\n"


def _parse(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("type"), str) else None


def text_of(events: list[Event]) -> str:
    """The answer as it was streamed: deltas of the main conversation."""
    deltas = [
        (event.get("event") or {}).get("delta") or {}
        for event in events
        if event["type"] == "stream_event" and event.get("parent_tool_use_id") is None
    ]
    return "".join(delta["text"] for delta in deltas if delta.get("type") == "text_delta")


def result_of(events: list[Event]) -> Event:
    """The last result among events."""
    return [event for event in events if event["type"] == "result"][-1]


def costs(events: list[Event]) -> tuple[float, float]:
    """USD: in all, by what the last result says, and since the result before."""
    result = result_of(events)
    since = result["model_usage_since_last_result"].values()
    return result["total_cost_usd"], sum(model["costUSD"] for model in since)


def outline(events: list[Event]) -> list[str]:
    """Each event in a word or two, runs of deltas as one: what a turn looks like."""
    names: list[str] = []
    for event in events:
        inner = event.get("event") or {}
        detail = event.get("subtype") or inner.get("type") or ""
        name = f"{event['type']} {detail} {event.get('state', '')}".strip()
        if not names or names[-1] != name or "delta" not in name:
            names.append(name)
    return names
