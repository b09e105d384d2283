"""Chat messages on their way to the Chat API: at least once, in order within each project.

`add` puts a message in the store and returns; sender threads take it from there.  The senders
are equals: whoever stands at the turnstile picks the next message that may go (`road.py`), steps
aside and sends it, while the next one picks.  A project has one message under way at a time,
which keeps its order; projects do not wait for each other.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from cowork.clients.chat_api import ChatHistory, NoChatApi, Refused, Unreachable
from cowork.errors import CoworkError
from cowork.log import logger
from cowork.road import Pause, Road
from cowork.stores.base import ChatMessage, Project, Store

log = logger(__name__)

# Of the time that `close` is given, the part for sending; the rest is for the threads to end.
_FLUSH_SHARE = 0.9
_STUMBLE_PAUSE = 1.0
# Of so many projects at once the one is chosen whose message goes next.
_PROJECTS = 1000


class Outbox:
    """Takes chat messages at once and delivers them in the background.

    `bearer` tells the token to send along, at the time of sending.  Durations are seconds.
    Threads are started by the first message, or by `start` where an earlier run left some.
    """

    def __init__(
        self,
        store: Store,
        history: ChatHistory,
        bearer: Callable[[], str | None],
        *,
        senders: int = 4,
        first_pause: float = 0.2,
        longest_pause: float = 60.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._history = history
        self._bearer = bearer
        self._senders = senders
        self._enabled = not isinstance(history, NoChatApi)
        self._turnstile = threading.Lock()
        self._changed = threading.Condition()  # guards all that follows
        self._changes = 0
        self._road = Road(lambda: Pause(first_pause, longest_pause, jitter))
        self._busy: set[Project] = set()
        self._threads: list[threading.Thread] = []
        self._stumbling = False
        self._closing = False
        self._stopped = False

    def add(self, message: ChatMessage) -> None:
        """Keep `message` for delivery; never waits for the network, never raises."""
        if not self._enabled:
            return
        try:
            self._store.put_message(message)
            self._wake()
        except Exception as fault:  # noqa: BLE001 - an answer must not fail for its history
            log.warning("chat message not kept", message_id=message.id, fault=_name(fault))

    def start(self) -> None:
        """Deliver what an earlier run left in the store; without such, start no thread."""
        if self._enabled and self._store.message_count():
            self._wake()

    def close(self, timeout: float) -> None:
        """Deliver what waits, while the Chat API takes it, and stop: `timeout` seconds at most.

        What is not delivered stays in the store.  A call that hangs is left to its daemon thread,
        which ends when the client behind the history is closed.
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

    @property
    def pending(self) -> int:
        """How many messages wait; raises `StoreUnavailable`."""
        return self._store.message_count()

    @property
    def state(self) -> dict[str, Any]:
        """For `/health`: `{"enabled": bool, "pending": int | None, "reachable": bool | None}`.

        `pending` is None while the store is away, `reachable` until a first message was tried.
        """
        with self._changed:
            reachable = self._road.reachable
        return {"enabled": self._enabled, "pending": self._count(), "reachable": reachable}

    def _wake(self) -> None:
        with self._changed:
            self._changes += 1
            self._changed.notify_all()
            if self._threads or self._closing:
                return
            for number in range(self._senders):
                thread = threading.Thread(target=self._run, name=f"outbox-{number}", daemon=True)
                thread.start()
                self._threads.append(thread)

    def _run(self) -> None:
        while True:
            try:
                message = self._take()
                if message is None:
                    return
                self._send(message)
                self._stumbling = False
            except Exception as fault:  # noqa: BLE001 - a sender that died would die in silence
                self._stumble(fault)

    def _take(self) -> ChatMessage | None:
        """Wait for a message that may go, and mark its project busy; None once we are closed."""
        with self._turnstile:
            while True:
                with self._changed:
                    if self._stopped:
                        return None
                    changes = self._changes
                    wait = self._road.opens_in(monotonic())
                if wait == 0.0:
                    chosen, wait = self._pick()
                    if chosen is not None:
                        return chosen
                self._wait(changes, wait)

    def _pick(self) -> tuple[ChatMessage | None, float | None]:
        """Choose, reading the store without the lock, so that `add` never waits for it.

        The first message of a project that is not busy is not under way, whenever it is read.
        """
        projects = self._store.waiting_projects(_PROJECTS)
        with self._changed:
            now = monotonic()
            self._road.forget_all_but(set(projects))
            project = self._road.choose(projects, self._busy, now)
            if project is None:
                return None, self._road.rest_ends_in(now)
            self._busy.add(project)
        message: ChatMessage | None = None
        try:
            message = self._store.next_message(project)
        finally:
            if message is None:
                with self._changed:
                    self._road.spared(project)
                    self._free(project)
        return message, 0.0

    def _wait(self, changes: int, seconds: float | None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._changes != changes, seconds)

    def _send(self, message: ChatMessage) -> None:
        try:
            self._history.add_message(message, self._bearer())
        except Refused as refusal:
            self._settle(message, refusal)
        except Unreachable as fault:
            self._postpone(message, fault.reason, fault.retry_after or 0.0)
        except Exception as fault:  # noqa: BLE001 - whatever it is, the message must not get lost
            self._postpone(message, _name(fault), 0.0)
        else:
            self._settle(message)

    def _settle(self, message: ChatMessage, refusal: Refused | None = None) -> None:
        """Take the message out of the store, then let its project's next one go."""
        try:
            if refusal is not None:
                self._bury(message, refusal)
            self._store.drop_message(message)
        finally:
            with self._changed:
                news = self._road.answered(message.project)
                self._free(message.project)
        if news:
            log.info("chat api takes messages again", pending=self._count())

    def _bury(self, message: ChatMessage, refusal: Refused) -> None:
        """What happens to a message that will never be taken; dead letters will be kept here."""
        log.warning("chat message refused, dropped", message_id=message.id, status=refusal.status)

    def _postpone(self, message: ChatMessage, reason: str, retry_after: float) -> None:
        with self._changed:
            news = self._road.failed(message.project, monotonic(), retry_after)
            self._free(message.project)
        if news:
            log.warning("chat api takes no messages", reason=reason, pending=self._count())

    def _free(self, project: Project) -> None:
        """Let the project's next message go; the caller holds the lock."""
        self._busy.discard(project)
        self._changes += 1
        self._changed.notify_all()

    def _stumble(self, fault: Exception) -> None:
        """The store is away, or we have a bug: say it once, and do not spin."""
        with self._changed:
            if not self._stumbling:
                log.warning("outbox stumbled", fault=_name(fault))
            self._stumbling = True
            self._changed.wait_for(lambda: self._stopped, _STUMBLE_PAUSE)

    def _is_flushed(self) -> bool:
        """Whether waiting on is of no use: all is sent, or nothing can be."""
        return self._road.reachable is False or not (self._busy or self._count())

    def _count(self) -> int | None:
        try:
            return self._store.message_count()
        except CoworkError:
            return None


def _name(fault: Exception) -> str:
    return fault.code if isinstance(fault, CoworkError) else type(fault).__name__
