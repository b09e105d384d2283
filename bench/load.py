"""The load: many connections in one process of its own, as cheap as Python makes it.

`python -m bench.load` reads a `Plan` as JSON from stdin and prints what it saw as JSON.  Streams
that are to run together are opened first; their fakes begin at one moment of CLOCK_MONOTONIC,
which is this machine's and so the client's too: a token's text is when the fake wrote it, and its
lag how long ago that was when the client had it.
"""

from __future__ import annotations

import gc
import heapq
import json
import selectors
import signal
import socket
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from re import compile as pattern
from typing import Any

from bench import proc
from bench.figures import percentile

SECOND = 1_000_000_000
BLOCK = 1 << 18
SHOWN_ERRORS = 5
_TOKEN = b'"type": "token"'
_STAMP = pattern(rb'"token": "(\d{10,}) "')


@dataclass(frozen=True, slots=True)
class Streams:
    """`count` streams, each of its own project; `question` has places for `{at}` and `{phase}`.

    They begin `lead_s` after the last was asked, spread over `spread_s`; `tokens` is what each
    must bring.  What is measured begins when the last has begun and lasts `window_s`, or until
    the last has ended (0).
    """

    count: int
    question: str
    tokens: int
    lead_s: float = 0.5
    spread_s: float = 0.0
    window_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests on `connections` that stay open, for `seconds`.

    With a `rate` (a second) each is due at its time, whether or not the one before has been
    answered (open loop); without, each connection asks again as soon as it has its answer.
    `{n}` in the body is the connection's number.
    """

    connections: int
    seconds: float
    path: str
    rate: float = 0.0
    body: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with the server on `port`, whose worker is process `worker`; `limit_s` is all."""

    port: int
    worker: int
    limit_s: float
    streams: Streams | None = None
    requests: Requests | None = None


class Loop:
    """Sockets that can be read, and things that are due."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = 0

    def watch(self, sock: socket.socket, readable: Callable[[], None]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, readable)

    def unwatch(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        sock.close()

    def at(self, when: int, call: Callable[[], None]) -> None:
        """Call something at that CLOCK_MONOTONIC time (ns)."""
        self._numbers += 1
        heapq.heappush(self._due, (when, self._numbers, call))

    def run(self, until: int, done: Callable[[], bool]) -> None:
        """Go on until `done()`, but not after `until` (ns)."""
        while not done() and (now := time.monotonic_ns()) < until:
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()
                now = time.monotonic_ns()
            left = (self._due[0][0] if self._due else until) - now
            for key, _ in self._selector.select(max(0.0, min(left / SECOND, 0.5))):
                key.data()

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            self.unwatch(key.fileobj)  # type: ignore[arg-type] # we register nothing but sockets
        self._selector.close()


def connect(port: int) -> socket.socket:
    """A connection to the server."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def request(path: str, body: str, *, method: str = "POST", close: bool = False) -> bytes:
    """A request's bytes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += ["Connection: close"] if close else []
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", body]).encode()


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
            self._finish("" if b'"success":true' in self._end else f"ended with {self._end!r}")
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
        lead = wanted.lead_s + 0.004 * wanted.count
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
        body = json.dumps({"project_name": f"p{number}", "question": question})
        stream = Stream(sock, self._loop, timed="rate=" in question)
        sock.sendall(request("/ask_question_streaming", body, close=True))
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


@dataclass(slots=True)
class Asker:
    """A connection that stays open; `due` are the times of requests that wait for it.

    What a `broken` one was asked is never answered.
    """

    sock: socket.socket
    loop: Loop
    message: bytes
    on_answer: Callable[[Asker, int, bool], None]
    due: deque[int] = field(default_factory=deque)
    asked: int = 0
    answered: int = 0
    broken: bool = False
    _reply: bytes = b""

    def ask(self, when: int) -> None:
        """Send the request that was due at `when`, or as soon as the one before is answered."""
        if self.asked or self.broken:
            self.due.append(when)
        else:
            self.asked = when
            self.sock.sendall(self.message)

    def readable(self) -> None:
        block = b""
        with suppress(OSError):
            block = self.sock.recv(BLOCK)
        if not block:
            self.broken = True
            self.loop.unwatch(self.sock)
            return
        self._reply += block
        head, found, body = self._reply.partition(b"\r\n\r\n")
        length = pattern(rb"(?i)content-length: (\d+)").search(head) if found else None
        if length is None or len(body) < int(length[1]):
            return
        lag, self.asked = time.monotonic_ns() - self.asked, 0
        ok = self._reply.startswith(b"HTTP/1.1 200")
        self._reply = b""
        self.answered += 1
        if self.due:
            self.ask(self.due.popleft())
        self.on_answer(self, lag, ok)


class RequestLoad:
    """The requests of a plan, from `begin` on."""

    def __init__(self, plan: Plan, wanted: Requests, loop: Loop, begin: int) -> None:
        self._wanted, self._loop, self._worker = wanted, loop, plan.worker
        self.begin, self.end = begin, begin + int(wanted.seconds * SECOND)
        self.lags: list[float] = []
        self.errors = 0
        self._sent = 0
        self._cost: list[tuple[float, float]] = []
        self.askers = [self._open(plan.port, number) for number in range(wanted.connections)]
        loop.at(begin, self._start)

    def _open(self, port: int, number: int) -> Asker:
        body = self._wanted.body.replace("{n}", str(number))
        message = request(self._wanted.path, body, method="POST" if body else "GET")
        asker = Asker(connect(port), self._loop, message, self._answered)
        self._loop.watch(asker.sock, asker.readable)
        return asker

    def _start(self) -> None:
        self._note()
        if self._wanted.rate:
            self._send_due()
        else:
            for asker in self.askers:
                asker.ask(time.monotonic_ns())

    def _send_due(self) -> None:
        gap = SECOND / self._wanted.rate
        while (due := self.begin + int(self._sent * gap)) <= time.monotonic_ns() and due < self.end:
            self.askers[self._sent % len(self.askers)].ask(due)
            self._sent += 1
        if due < self.end:
            self._loop.at(due, self._send_due)

    def _answered(self, asker: Asker, lag: int, ok: bool) -> None:
        self.lags.append(lag / 1e6)
        self.errors += not ok
        if not self._wanted.rate and time.monotonic_ns() < self.end:
            asker.ask(time.monotonic_ns())

    def _note(self) -> None:
        self._cost.append((proc.cpu_seconds(self._worker), time.process_time()))

    def done(self) -> bool:
        over = time.monotonic_ns() >= self.end
        return over and not any(asker.asked and not asker.broken for asker in self.askers)

    def found(self) -> dict[str, Any]:
        """What was seen, once all is over."""
        self._note()
        (cpu, own), (cpu_then, own_then) = self._cost[:2]
        return {
            "answers": len(self.lags),
            "errors": self.errors + sum(map(_unanswered, self.askers)),
            "seconds": (time.monotonic_ns() - self.begin) / SECOND,
            "lag_ms": summary(self.lags),
            "shares": [asker.answered for asker in self.askers],
            "cpu_s": cpu_then - cpu,
            "client_cpu_s": own_then - own,
        }


def _unanswered(asker: Asker) -> int:
    """Requests without an answer; a connection that broke is an error even if it had none."""
    return max(bool(asker.asked) + len(asker.due), asker.broken)


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and largest; empty for nothing."""
    if not values:
        return {}
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: percentile(values, share) for name, share in shares.items()}


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


def parse(text: bytes) -> Plan:
    """A plan from the JSON of `asdict(plan)`."""
    said = json.loads(text)
    streams, requests = said.pop("streams"), said.pop("requests")
    return Plan(
        **said,
        streams=Streams(**streams) if streams else None,
        requests=Requests(**requests) if requests else None,
    )


def dump(plan: Plan) -> bytes:
    """A plan as JSON."""
    return json.dumps(asdict(plan)).encode()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is the bench's to talk about
    gc.disable()  # there are no cycles, and a collection would count as the server's delay
    print(json.dumps(run(parse(sys.stdin.buffer.read()))))
