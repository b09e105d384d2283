"""Delivers the chat messages of a store: at least once, in order within each project.

Sender threads are identical.  One at a time (under `_pick_lock`) selects the next message that
may go (`delivery_gate.py`), releases the lock, and sends.  A project has one message under way at
a time, which keeps its order; projects do not wait for each other.

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
from http import HTTPStatus
from time import monotonic

from cowork.errors import CoworkError
from cowork.history.chat_api import ChatHistory, LoginNeeded, NoChatApi, Refused, Unreachable
from cowork.history.delivery_gate import DeliveryGate
from cowork.history.lease import RelayLease
from cowork.log import logger
from cowork.model import ChatMessage, Project
from cowork.runtime.backoff import Backoff
from cowork.stores.protocol import Store

log = logger(__name__)

# Of the time that `close` is given, the part for sending; the rest is for the threads to end.
_FLUSH_SHARE = 0.9
_RETRY_INTERVAL_S = 1.0
# Of so many projects at once the one is chosen whose message goes next.
_PROJECT_LIMIT = 1000
# Reading which they are is much where they are many: not for every message.
_PROJECTS_MAX_AGE_S = 0.1
_POLL_INTERVAL_S = 1.0
# Before a message is sent once more that is perhaps still being taken in.
_CONFLICT_PAUSE_S = 1.0
# The two kinds of trouble, as the log says them.
_DOWN = "chat api takes no messages"
_NO_LOGIN = "chat api wants a login"


class _Conflict(Exception):
    """A message that may have been sent before was answered 409 for the first time."""


class Relay:
    """Sends from threads of its own, which the first `wake` starts.

    `bearer` tells the token to send along, at the time of sending; `renew` is asked, once, when
    the Chat API takes a message with that token no more, and says whether there is another now.
    Durations are seconds.
    """

    def __init__(
        self,
        store: Store,
        history: ChatHistory,
        bearer: Callable[[], str | None],
        *,
        renew: Callable[[str | None], bool] = lambda _: False,
        senders: int = 4,
        first_pause: float = 0.2,
        longest_pause: float = 60.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._history = history
        self._bearer = bearer
        self._renew = renew
        self._senders = senders
        self._longest_pause = longest_pause
        self.has_upstream = not isinstance(history, NoChatApi)
        self._lease = RelayLease(store)
        self._pick_lock = threading.Lock()  # guards the next three
        self._known: list[Project] = []
        self._known_until = 0.0
        self._known_puts = 0
        self._changed = threading.Condition()  # guards all that follows
        self._changes = 0
        self._puts = 0
        self._gate = DeliveryGate(lambda: Backoff(first_pause, longest_pause, jitter))
        self._trouble: str | None = None
        self._busy: set[Project] = set()
        # What was decided on a message that the store still has: at most one a project.
        self._outcomes: dict[str, Refused | None] = {}
        self._conflicts: set[str] = set()
        self._threads: list[threading.Thread] = []
        self._is_failing = False
        self._closing = False
        self._stopped = False

    @property
    def reachable(self) -> bool | None:
        """Whether the Chat API answers; None until a first message was tried."""
        with self._changed:
            return True if self._trouble == _NO_LOGIN else self._gate.reachable

    @property
    def wants_login(self) -> bool:
        """Whether messages wait for a token that the Chat API takes."""
        with self._changed:
            return self._trouble == _NO_LOGIN

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
            if self._trouble == _NO_LOGIN:
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
            self._lease.give_back()
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
                    chosen, wait = self._pick()
                    if chosen is not None:
                        return chosen
                    if self._store.shared:
                        wait = _POLL_INTERVAL_S if wait is None else min(wait, _POLL_INTERVAL_S)
                self._wait(changes, wait)

    def _pick(self) -> tuple[ChatMessage | None, float | None]:
        """The next message, or None and the seconds until a project has rested (None: none rests).

        Reads the store without the lock, so that `wake` never waits for it.  The first message of
        a project that is not busy is not under way, whenever it is read.
        """
        before = monotonic()
        project = self._choose()
        if project is None:
            # As of before the choice: a rest that has ended since would be waited for forever.
            with self._changed:
                return None, self._gate.project_retry_in(before)
        message: ChatMessage | None = None
        try:
            message = self._store.next_message(project)
        finally:
            if message is None:
                self._known.remove(project)
                self._release_pick(project)
        return message, 0.0

    def _choose(self) -> Project | None:
        """A project that may go, busy from now on; looks at the store if it knows of none."""
        puts = self._puts
        known = monotonic() < self._known_until and puts == self._known_puts
        if known and (chosen := self._choose_known()) is not None:
            return chosen
        self._known = self._store.waiting_projects(_PROJECT_LIMIT)
        self._known_until, self._known_puts = monotonic() + _PROJECTS_MAX_AGE_S, puts
        with self._changed:
            self._gate.forget_all_but(set(self._known))
        return self._choose_known()

    def _choose_known(self) -> Project | None:
        if not self._known or not self._lease.take():
            return None
        with self._changed:
            chosen = self._gate.choose(self._known, self._busy, monotonic())
            if chosen is not None:
                self._busy.add(chosen)
            return chosen

    def _release_pick(self, project: Project) -> None:
        """The project was not tried after all."""
        with self._changed:
            self._gate.release_probe(project)
            self._free(project)

    def _wait(self, changes: int, seconds: float | None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._changes != changes, seconds)

    def _send(self, message: ChatMessage) -> None:
        try:
            if message.id not in self._outcomes:
                self._outcomes[message.id] = self._deliver(message)
        except LoginNeeded as fault:
            self._postpone(message, str(fault), self._longest_pause, trouble=_NO_LOGIN)
            if self._bearer() != fault.token:  # somebody logged in while we were told that
                self.token_changed()
        except Unreachable as fault:
            self._postpone(message, fault.reason, fault.retry_after or 0.0)
        except _Conflict:
            with self._changed:
                pause = min(_CONFLICT_PAUSE_S, self._longest_pause)
                self._gate.postponed(message.project, monotonic(), pause)
                self._free(message.project)
        except CoworkError:  # the store is unavailable, which tells nothing about the Chat API
            self._release_pick(message.project)
            raise
        except Exception as fault:  # noqa: BLE001 - whatever it is, the message must not get lost
            self._postpone(message, _name(fault), 0.0)
        else:
            self._commit_outcome(message)

    def _deliver(self, message: ChatMessage) -> Refused | None:
        """Give the message to the Chat API; its refusal, None where it has it.

        The store knows of the try before it is made: whether it came through is not known where
        the reply is lost, or we are.
        """
        if not message.tried:
            self._store.note_try(message)
        try:
            self._send_with_a_token(message)
        except Refused as refusal:
            if not (message.tried and refusal.status == HTTPStatus.CONFLICT):
                return refusal
            if message.id not in self._conflicts:
                self._conflicts.add(message.id)
                raise _Conflict from None
        except (LoginNeeded, Unreachable) as fault:
            if not message.tried and (isinstance(fault, LoginNeeded) or fault.unseen):
                self._store.note_try(message, tried=False)
            raise
        return None

    def _send_with_a_token(self, message: ChatMessage) -> None:
        """Send it, with another token if the first is not taken."""
        token = self._bearer()
        try:
            self._history.add_message(message, token)
        except LoginNeeded:
            if not self._renew(token):
                raise
            self._history.add_message(message, self._bearer())

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
            self._conflicts.discard(message.id)
        finally:
            with self._changed:
                self._gate.succeeded(message.project)
                news, self._trouble = self._trouble is not None, None
                self._free(message.project)
        if news:
            log.info("chat api takes messages again", pending=self._count())

    def _move_to_dead_letters(self, message: ChatMessage, refusal: Refused) -> None:
        self._store.move_to_dead_letters(message, str(refusal), datetime.now(UTC))
        log.warning(
            "chat message refused, now a dead letter",
            message_id=message.id,
            owner=message.project.owner,
            status=refusal.status,
        )

    def _postpone(
        self, message: ChatMessage, reason: str, at_least: float, trouble: str = _DOWN
    ) -> None:
        with self._changed:
            tells = self._gate.failed(message.project, monotonic(), at_least)
            news = tells and trouble != self._trouble
            self._trouble = trouble if tells else self._trouble
            self._free(message.project)
        if news:
            log.warning(trouble, reason=reason, pending=self._count())

    def _free(self, project: Project) -> None:
        """Let the project's next message go; the caller holds the lock."""
        self._busy.discard(project)
        self._notify()

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
        if self._gate.reachable is False or not self._lease.held:
            return True
        return not (self._busy or self._count())

    def _count(self) -> int | None:
        try:
            return self._store.outbox_counts().waiting
        except CoworkError:
            return None


def _name(fault: Exception) -> str:
    return fault.code if isinstance(fault, CoworkError) else type(fault).__name__
