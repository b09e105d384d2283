"""Requests on connections that stay open: at a rate, or as fast as they are answered."""

from __future__ import annotations

import re
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bench import proc
from bench.loop import BLOCK, SECOND, Loop, connect, request, summary
from bench.plan import Plan, Requests

_LENGTH = re.compile(rb"(?i)content-length: (\d+)")


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
        length = _LENGTH.search(head) if found else None
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
