"""Streams that are opened one after the other and begin together.

Their fakes begin at one moment of CLOCK_MONOTONIC, which is this machine's and so the client's
too: a token's text is when the fake wrote it, and its lag how long ago that was when the client
had it.
"""

from __future__ import annotations

import json
import re
import socket
import time
from array import array
from dataclasses import dataclass, field
from typing import Any

from bench import proc
from bench.loop import BLOCK, SECOND, Loop, connect, request, summary
from bench.plan import Plan, Streams

SHOWN_ERRORS = 5
# Opening one takes the server some two milliseconds.
PER_STREAM_S = 0.006
_TOKEN = b'"type": "token"'
_STAMP = re.compile(rb'"token": "(\d{10,}) "')


@dataclass(slots=True)
class Stream:
    """One reply of `/ask_question_streaming`."""

    sock: socket.socket
    loop: Loop
    tokens: int = 0
    first_at: int = 0
    ended_at: int = 0
    error: str = ""
    stamps: array[int] = field(default_factory=lambda: array("q"))
    lags: array[int] = field(default_factory=lambda: array("q"))
    timed: bool = False
    _rest: bytes = b""
    _end: bytes = b""

    def readable(self) -> None:
        try:
            block = self.sock.recv(BLOCK)
        except OSError as fault:
            self._finish(f"the connection broke: {fault}")
            return
        now = time.monotonic_ns()
        if not block:
            self._finish("" if b'"success": true' in self._end else f"ended with {self._end!r}")
            return
        if not self.first_at:
            self.first_at = now
            if not block.startswith(b"HTTP/1.1 200"):
                self._finish(f"answered {block[:300]!r}")
                return
        self._end = (self._end + block)[-1024:]
        data = self._rest + block
        cut = data.rfind(b"\n\n") + 1
        self._rest = data[cut:]
        self.tokens += data.count(_TOKEN, 0, cut)
        if self.timed:
            for stamp in map(int, _STAMP.findall(data, 0, cut)):
                self.stamps.append(stamp)
                self.lags.append(now - stamp)

    def _finish(self, error: str) -> None:
        self.error, self.ended_at = error, time.monotonic_ns()
        self.loop.unwatch(self.sock)


class StreamLoad:
    """All streams of a plan, and the worker's cost while they run."""

    def __init__(self, plan: Plan, wanted: Streams, loop: Loop) -> None:
        self._wanted, self._worker, self._loop = wanted, plan.worker, loop
        self.streams: list[Stream] = []
        sockets = [connect(plan.port) for _ in range(wanted.count)]
        lead = wanted.lead_s + PER_STREAM_S * wanted.count if "{at}" in wanted.question else 0.0
        self.at = time.monotonic_ns() + int(lead * SECOND)
        self.begin = self.at + int(wanted.spread_s * SECOND)
        self.end = self.begin + int(wanted.window_s * SECOND) if wanted.window_s else 0
        self._cost: list[tuple[int, float, float]] = []
        self._resident = 0
        for number, sock in enumerate(sockets):
            self._ask(number, sock)
        loop.at(self.begin, self._note)
        if self.end:
            loop.at((self.begin + self.end) // 2, self._weigh)
            loop.at(self.end, self._note)

    def _ask(self, number: int, sock: socket.socket) -> None:
        spread = round(number * self._wanted.spread_s * 1e6 / self._wanted.count)
        question = self._wanted.question.format(at=self.at, phase=spread)
        body = json.dumps({"project_name": f"p{self._wanted.first + number}", "question": question})
        stream = Stream(sock, self._loop, timed="rate=" in question)
        sock.sendall(
            request("/ask_question_streaming", body, close=True, numbered=self._wanted.numbered)
        )
        sock.setblocking(False)
        self._loop.watch(sock, stream.readable)
        self.streams.append(stream)

    def _note(self) -> None:
        cost = proc.cpu_seconds(self._worker)
        self._cost.append((time.monotonic_ns(), cost, time.process_time()))

    def _weigh(self) -> None:
        self._resident = proc.resident_bytes(self._worker)

    def done(self) -> bool:
        return bool(self._cost) and all(stream.ended_at for stream in self.streams)

    def found(self) -> dict[str, Any]:
        """What was seen, once all is over; times in seconds, from the common beginning."""
        while len(self._cost) < 2:  # a window that nobody reached
            self._note()
        ends = [stream.ended_at for stream in self.streams if stream.ended_at]
        firsts = [stream.first_at for stream in self.streams if stream.first_at]
        last = max(ends, default=self.at)
        (since, cpu, own), (until, cpu_then, own_then) = self._cost[:2]
        until = until if self.end else last
        errors = [*filter(None, map(self._fault, self.streams))]
        return {
            "errors": len(errors),
            "shown_errors": errors[:SHOWN_ERRORS],
            "tokens": sum(stream.tokens for stream in self.streams),
            "first_s": (max(firsts, default=self.at) - self.at) / SECOND,
            "elapsed_s": (last - self.begin) / SECOND,
            "window_s": (until - since) / SECOND,
            "cpu_s": cpu_then - cpu,
            "client_cpu_s": own_then - own,
            "resident_bytes": self._resident,
            "lag_ms": summary(self._lags(whole=False)),
            "lag_whole_ms": summary(self._lags(whole=True)),
        }

    def _fault(self, stream: Stream) -> str:
        if not stream.ended_at:
            return "did not end"
        short = stream.tokens != self._wanted.tokens and f"brought {stream.tokens} tokens"
        return stream.error or short or ""

    def _lags(self, *, whole: bool) -> list[float]:
        """Milliseconds, of the tokens that were written while all streams ran, or of all."""
        return [
            lag / 1e6
            for stream in self.streams
            for stamp, lag in zip(stream.stamps, stream.lags, strict=True)
            if whole or self.begin <= stamp < self.end
        ]
