"""What this worker is told by the others: its inbox, and the logs that it follows.

One thread waits for all of it in one call of the store, so that it takes one connection.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from cowork.errors import CoworkError, StoreUnavailable, error_fields, restore_error
from cowork.log import logger
from cowork.model import Message, PublishedEvents
from cowork.runtime.ids import new_id
from cowork.runtime.periodic import PeriodicThread
from cowork.runtime.thread_pool import CachedThreadPool
from cowork.stores.serialization import dumps, loads
from cowork.stores.worker_protocol import RECEIVE_TIMEOUT_S, WorkerStore
from cowork.telemetry.catalogue import INBOX_WAIT
from cowork.telemetry.metrics import NO_METRICS, Metrics
from cowork.turns.outcome import internal_error, unreachable

log = logger(__name__)

# How long a command counts, and its sender waits for the first sign of its worker; seconds.
COMMAND_TTL_S = 1.0
# After a call of the store that failed.
RETRY_INTERVAL_S = 0.25
JOIN_TIMEOUT_S = 0.5
_REPLY, _TAKEN, _WAKE = "reply", "taken", "wake"

Body = dict[str, Any]


@dataclass(slots=True)
class _Call:
    """A command that waits for its reply."""

    taken: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    reply: Body | None = None


class Channel:
    """Sends commands to other workers and gets theirs; `start` it with what does those, `close` it.

    `holder` is our name among them; `is_dead` says of a worker's whether it is certainly gone.
    """

    def __init__(
        self,
        others: WorkerStore,
        holder: str,
        *,
        is_dead: Callable[[str], bool],
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._metrics = metrics
        self._others = others
        self._is_dead = is_dead
        self._holder = holder
        self._lock = threading.Lock()
        self._calls: dict[str, _Call] = {}
        self._followed: dict[str, str] = {}
        self._listeners: dict[str, Callable[[list[PublishedEvents]], None]] = {}
        self._handlers: Mapping[str, Callable[[Body], Body | None]] = {}
        self._threads = CachedThreadPool("commands")
        self._place = "0"
        self._is_waiting = False
        self._thread = PeriodicThread("channel", self._step, retry_s=RETRY_INTERVAL_S)

    def start(self, handlers: Mapping[str, Callable[[Body], Body | None]]) -> None:
        """Do what others ask: each kind of command has a handler, run in a thread of its own.

        What it returns is the reply; a `CoworkError` that it raises is raised at the sender.
        """
        self._handlers = handlers
        self._thread.start()

    def close(self) -> None:
        """Listen no more; what is being done goes on."""
        self._thread.stop()
        self._wake()
        self._thread.join(JOIN_TIMEOUT_S)
        self._threads.close()

    # -- sending

    def tell(self, worker: str, kind: str, body: Body) -> bool:
        """Send what needs no reply; whether there was anybody to read it."""
        message = _message(kind, body)
        return self._others.send(worker, message, COMMAND_TTL_S) is not None

    def call(self, worker: str, kind: str, body: Body, *, timeout: float) -> Body:
        """Have it done by that worker; its reply, or the error that it raises.

        `timeout` is how long it may take from when it is begun.  Raises `WorkerUnreachable` where
        nobody begins it in `COMMAND_TTL_S`: it is not done then, and will not be.
        """
        return self._call(worker, kind, body, timeout, turn_id="") or {}

    def ask(self, worker: str, body: Body, turn_id: str) -> Body | None:
        """Have that worker accept turn `turn_id`; its reply, or None: it has, and cannot be heard.

        Raises the worker's error, and `WorkerUnreachable`: it has not, and will not.
        """
        return self._call(worker, "ask", body, 0.0, turn_id=turn_id)

    def _call(
        self, worker: str, kind: str, body: Body, timeout: float, *, turn_id: str
    ) -> Body | None:
        number, call = new_id(), _Call()
        with self._lock:
            self._calls[number] = call
        begun = time.monotonic()
        try:
            message = _message(kind, body, sender=self._holder, number=number)
            entry = self._others.send(worker, message, COMMAND_TTL_S)
            if entry is None:
                raise unreachable()
            is_taken = call.taken.wait(COMMAND_TTL_S)
            self._metrics.observe(INBOX_WAIT, time.monotonic() - begun)
            if not is_taken:
                was_accepted = self._others.withdraw(worker, entry, turn_id)
                if call.reply is None and was_accepted:
                    return None
            if call.reply is None and not self._wait_done(call, worker, timeout):
                raise unreachable()
        finally:
            with self._lock:
                del self._calls[number]
        reply = call.reply or {}
        if (error := reply.get("error")) is not None:
            raise restore_error(**error)
        return reply

    def _wait_done(self, call: _Call, worker: str, timeout: float) -> bool:
        """Wait for the reply of a worker that has begun, while it lives."""
        deadline = time.monotonic() + timeout
        while call.taken.is_set() and not self._is_dead(worker):
            left = deadline - time.monotonic()
            if left <= 0 or call.done.wait(min(left, COMMAND_TTL_S)):
                break
        return call.done.is_set()

    # -- following

    def follow(
        self, turn_id: str, place: str, listener: Callable[[list[PublishedEvents]], None]
    ) -> None:
        """Call `listener` with what is published of the turn from behind `place`, in order."""
        with self._lock:
            self._followed[turn_id], self._listeners[turn_id] = place, listener
        self._wake()

    def unfollow(self, turn_id: str) -> None:
        """Stop calling its listener."""
        with self._lock:
            self._followed.pop(turn_id, None)
            self._listeners.pop(turn_id, None)

    def _wake(self) -> None:
        """Have the thread look again at what is followed: it waits in the store."""
        if self._is_waiting:
            with suppress(StoreUnavailable):  # it does not wait for long
                self._others.send(self._holder, _message(_WAKE, {}), COMMAND_TTL_S)

    # -- receiving

    def _step(self) -> float:
        with self._lock:
            followed = dict(self._followed)
        self._is_waiting = True
        try:
            if self._thread.stopped:
                return 0.0
            messages, events = self._others.receive(self._place, followed, RECEIVE_TIMEOUT_S)
        except StoreUnavailable:
            self._thread.pause(RETRY_INTERVAL_S)
            return 0.0
        finally:
            self._is_waiting = False
        for turn_id, published in events.items():
            self._deliver(turn_id, published)
        if messages:
            self._place = messages[-1].id
            for message in self._take(messages):
                self._receive(message)
        return 0.0

    def _deliver(self, turn_id: str, published: list[PublishedEvents]) -> None:
        with self._lock:
            listener = self._listeners.get(turn_id)
            if listener is None:
                return
            self._followed[turn_id] = published[-1].id
        try:
            listener(published)
        except Exception:
            log.exception("could not read a turn of another worker", turn_id=turn_id)
            self.unfollow(turn_id)

    def _take(self, messages: list[Message]) -> list[Message]:
        while not self._thread.stopped:
            try:
                return self._others.take(messages)
            except StoreUnavailable:
                self._thread.pause(RETRY_INTERVAL_S)
        return []

    def _receive(self, message: Message) -> None:
        if message.kind in {_REPLY, _TAKEN}:
            self._resolve(message)
        elif message.kind in self._handlers:
            self._threads.run(lambda: self._handle(message))
        elif message.kind != _WAKE:
            log.warning("unknown command of another worker", kind=message.kind)

    def _resolve(self, message: Message) -> None:
        with self._lock:
            call = self._calls.get(message.number)
        if call is None:
            return
        if message.kind == _REPLY:
            call.reply = loads(message.body)
            call.done.set()
        call.taken.set()

    def _handle(self, message: Message) -> None:
        if message.sender and message.kind != "ask":
            self._answer(message, _TAKEN, {})
        begun = time.monotonic()
        try:
            reply = self._handlers[message.kind](loads(message.body)) or {}
        except CoworkError as error:
            reply = {"error": error_fields(error)}
        except Exception:
            log.exception("a command of another worker failed", kind=message.kind)
            reply = {"error": error_fields(internal_error())}
        if message.sender:
            self._answer(message, _REPLY, reply)
        log.debug(
            "command done",
            kind=message.kind,
            ms=round((time.monotonic() - begun) * 1000),
        )

    def _answer(self, message: Message, kind: str, body: Body) -> None:
        try:
            self._others.send(message.sender, _message(kind, body, number=message.number))
        except StoreUnavailable:
            # The sender does not hear of it, and says so.
            log.warning("could not answer another worker", kind=message.kind)


def _message(kind: str, body: Body, *, sender: str = "", number: str = "") -> Message:
    return Message("", kind, dumps(body).encode(errors="surrogatepass"), sender, number, "")
