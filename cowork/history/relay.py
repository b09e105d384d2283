"""Delivers the chat messages of a store: at least once, in order within each project.

Sender threads are identical.  One at a time (under `_pick_lock`) selects the next message that
may go (`picker.py`, `delivery_backoff.py`), releases the lock, and sends (`delivery.py`).  A
project has one message under way at a time, which keeps its order; projects do not wait for each
other.

A message that is refused for good becomes a dead letter, and the next one goes.  One that may
have been sent before and is answered 409 is there already, or still being taken in: it is sent
once more after a pause, and then counts as delivered.  While the Chat
API takes none without another token, all wait for a login.  Of several processes on one store,
one delivers (`lease.py`), and looks at the store now and then for what others put there.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic

from cowork.errors import CoworkError
from cowork.history.chat_api import ChatHistory, LoginNeeded, NoChatApi, Refused, Unreachable
from cowork.history.delivery import ConflictError, Delivery
from cowork.history.delivery_backoff import DeliveryGate
from cowork.history.picker import Picker
from cowork.log import logger, traceparent
from cowork.model import ChatMessage
from cowork.runtime.backoff import Backoff
from cowork.stores.outbox_protocol import OutboxStore
from cowork.telemetry.catalogue import OUTBOX_DELIVERIES
from cowork.telemetry.metrics import NO_METRICS, Metrics
from cowork.telemetry.traceparent import Traces

log = logger(__name__)

# Of the time that `close` is given, the part for sending; the rest is for the threads to end.
_FLUSH_SHARE = 0.9
_RETRY_INTERVAL_S = 1.0
_POLL_INTERVAL_S = 1.0
# Before a message is sent once more that is perhaps still being taken in.
_CONFLICT_PAUSE_S = 1.0
# The two kinds of trouble, as the log says them.
_UNAVAILABLE = "chat api unavailable, messages wait"
_LOGIN_NEEDED = "chat api needs a login, messages wait"


class Relay:
    """Sends from threads of its own, which the first `wake` starts.

    `bearer` tells the token to send along, at the time of sending; `refresh` is asked, once, when
    the Chat API takes a message with that token no more, and says whether there is another now.
    `holder` is this process's name in the store.  Durations are seconds.
    """

    def __init__(
        self,
        store: OutboxStore,
        history: ChatHistory,
        bearer: Callable[[], str | None],
        *,
        holder: str,
        refresh: Callable[[str | None], bool] = lambda _: False,
        senders: int = 4,
        first_pause: float = 0.2,
        longest_pause: float = 60.0,
        jitter: Callable[[], float] = random.random,
        metrics: Metrics = NO_METRICS,
        traces: Traces | None = None,
    ) -> None:
        self._traces = traces or Traces()
        self._metrics = metrics
        self._store = store
        self._bearer = bearer
        self._senders = senders
        self._longest_pause = longest_pause
        self.has_upstream = not isinstance(history, NoChatApi)
        self._delivery = Delivery(store, history, bearer, refresh)
        self._pick_lock = threading.Lock()
        self._changed = threading.Condition()  # guards all that follows
        self._changes = 0
        self._puts = 0
        self._gate = DeliveryGate(lambda: Backoff(first_pause, longest_pause, jitter))
        self._trouble: str | None = None
        self._picker = Picker(store, self._gate, self._changed, self._notify, holder)
        # What was decided on a message that the store still has: at most one a project.
        self._outcomes: dict[str, Refused | None] = {}
        self._threads: list[threading.Thread] = []
        self._is_failing = False
        self._closing = False
        self._stopped = False

    @property
    def reachable(self) -> bool | None:
        """Whether the Chat API answers; None until a first message was tried."""
        with self._changed:
            return True if self._trouble == _LOGIN_NEEDED else self._gate.reachable

    @property
    def wants_login(self) -> bool:
        """Whether messages wait for a token that the Chat API takes."""
        with self._changed:
            return self._trouble == _LOGIN_NEEDED

    def wake(self) -> None:
        """Look at the store: a message was put there."""
        with self._changed:
            self._puts += 1
            self._notify()
            if self._threads or self._closing:
                return
            for number in range(self._senders):
                thread = threading.Thread(target=self._run, name=f"outbox-{number}", daemon=True)
                thread.start()
                self._threads.append(thread)

    def token_changed(self) -> None:
        """Try again at once, if it was a login that was wanted."""
        with self._changed:
            if self._trouble == _LOGIN_NEEDED:
                self._gate.reset()
                self._notify()

    def close(self, timeout: float) -> None:
        """Deliver what waits, while the Chat API takes it, and stop: `timeout` seconds at most.

        A call that hangs is left to its daemon thread, which ends when the client behind the
        history is closed.
        """
        end = monotonic() + timeout
        with self._changed:
            self._closing = True
            if self._threads:
                self._changed.wait_for(self._is_flushed, timeout * _FLUSH_SHARE)
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(max(end - monotonic(), 0.0))
        try:
            self._picker.lease.give_back()
        except CoworkError as fault:
            log.warning("could not release the delivery lease", fault=fault.code)

    def _run(self) -> None:
        while True:
            try:
                message = self._take()
                if message is None:
                    return
                self._send(message)
                self._recover()
            except Exception as fault:  # noqa: BLE001 - a sender that died would die in silence
                self._on_loop_error(fault)

    def _take(self) -> ChatMessage | None:
        """Wait for a message that may go, and mark its project busy; None once we are closed."""
        with self._pick_lock:
            while True:
                with self._changed:
                    if self._stopped:
                        return None
                    changes = self._changes
                    wait = self._gate.retry_in(monotonic())
                if wait == 0.0:
                    chosen, wait = self._picker.pick(self._puts)
                    if chosen is not None:
                        return chosen
                    if self._store.shared:
                        wait = _POLL_INTERVAL_S if wait is None else min(wait, _POLL_INTERVAL_S)
                self._wait(changes, wait)

    def _wait(self, changes: int, seconds: float | None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._changes != changes, seconds)

    def _send(self, message: ChatMessage) -> None:
        traceparent.set(self._traces.of_message(message.id))
        try:
            if message.id not in self._outcomes:
                refusal = self._outcomes[message.id] = self._delivery.deliver(message)
                self._count_try("delivered" if refusal is None else "refused")
        except LoginNeeded as fault:
            self._count_try("login_needed")
            self._postpone(message, str(fault), self._longest_pause, trouble=_LOGIN_NEEDED)
            if self._bearer() != fault.token:  # somebody logged in while we were told that
                self.token_changed()
        except Unreachable as fault:
            self._count_try("unreachable")
            self._postpone(message, fault.reason, fault.retry_after or 0.0)
        except ConflictError:
            self._count_try("conflict")
            with self._changed:
                pause = min(_CONFLICT_PAUSE_S, self._longest_pause)
                self._gate.postponed(message.project, monotonic(), pause)
                self._picker.free(message.project)
        except CoworkError:  # the store is unavailable, which tells nothing about the Chat API
            self._picker.release(message.project)
            raise
        except Exception as fault:  # noqa: BLE001 - whatever it is, the message must not get lost
            self._count_try("error")
            self._postpone(message, _name(fault), 0.0)
        else:
            self._commit_outcome(message)

    def _count_try(self, result: str) -> None:
        self._metrics.count(OUTBOX_DELIVERIES, result)

    def _commit_outcome(self, message: ChatMessage) -> None:
        """Take the message out of the store, then let its project's next one go.

        While the store does not take that, the message's outcome is remembered, so that it is not
        sent again and again.
        """
        try:
            refusal = self._outcomes[message.id]
            if refusal is None:
                self._store.delete_message(message)
            else:
                self._move_to_dead_letters(message, refusal)
            del self._outcomes[message.id]
            self._delivery.forget(message)
        finally:
            with self._changed:
                self._gate.succeeded(message.project)
                news, self._trouble = self._trouble is not None, None
                self._picker.free(message.project)
        if news:
            log.info("chat api available again", pending=self._count())

    def _move_to_dead_letters(self, message: ChatMessage, refusal: Refused) -> None:
        self._store.move_to_dead_letters(message, str(refusal), datetime.now(UTC))
        log.warning(
            "chat message refused, now a dead letter",
            message_id=message.id,
            owner=message.project.owner,
            status=refusal.status,
        )

    def _postpone(
        self, message: ChatMessage, reason: str, at_least: float, trouble: str = _UNAVAILABLE
    ) -> None:
        with self._changed:
            tells = self._gate.failed(message.project, monotonic(), at_least)
            news = tells and trouble != self._trouble
            self._trouble = trouble if tells else self._trouble
            self._picker.free(message.project)
        if news:
            log.warning(trouble, reason=reason, pending=self._count())

    def _notify(self) -> None:
        self._changes += 1
        self._changed.notify_all()

    def _on_loop_error(self, fault: Exception) -> None:
        """The store is unavailable, or we have a bug: say it once, and do not spin."""
        with self._changed:
            if not self._is_failing:
                log.warning("outbox delivery failed, retrying", fault=_name(fault))
            self._is_failing = True
            self._changed.wait_for(lambda: self._stopped, _RETRY_INTERVAL_S)

    def _recover(self) -> None:
        with self._changed:
            if self._is_failing:
                log.info("outbox delivery recovered")
            self._is_failing = False

    def _is_flushed(self) -> bool:
        """Whether waiting on is of no use: all is sent, or nothing can be."""
        if self._gate.reachable is False or not self._picker.lease.held:
            return True
        return not (self._picker.busy or self._count())

    def _count(self) -> int | None:
        try:
            return self._store.outbox_counts().waiting
        except CoworkError:
            return None


def _name(fault: Exception) -> str:
    return fault.code if isinstance(fault, CoworkError) else type(fault).__name__
