"""Delivers one chat message, and tells what became of it."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from cowork.history.chat_api import ChatHistory, LoginNeeded, Refused, Unreachable
from cowork.model import ChatMessage
from cowork.stores.outbox_protocol import OutboxStore


class ConflictError(Exception):
    """A message that may have been sent before was answered 409 for the first time."""


class Delivery:
    """Gives messages to the Chat API, with the token that `bearer` tells at the time.

    `refresh` is asked, once a message, when the Chat API takes it with that token no more, and
    says whether there is another now.
    """

    def __init__(
        self,
        store: OutboxStore,
        history: ChatHistory,
        bearer: Callable[[], str | None],
        refresh: Callable[[str | None], bool],
    ) -> None:
        self._store = store
        self._history = history
        self._bearer = bearer
        self._refresh = refresh
        self._conflicts: set[str] = set()

    def deliver(self, message: ChatMessage) -> Refused | None:
        """Give the message to the Chat API; its refusal, None where it has it.

        The store knows of the try before it is made: whether it came through is not known where
        the reply is lost, or we are.
        Raises `LoginNeeded`, `Unreachable`, `ConflictError` and `StoreUnavailable`.
        """
        if not message.tried:
            self._store.note_try(message)
        try:
            self._send(message)
        except Refused as refusal:
            if not (message.tried and refusal.status == HTTPStatus.CONFLICT):
                return refusal
            if message.id not in self._conflicts:
                self._conflicts.add(message.id)
                raise ConflictError from None
        except (LoginNeeded, Unreachable) as fault:
            if not message.tried and (isinstance(fault, LoginNeeded) or fault.unseen):
                self._store.note_try(message, tried=False)
            raise
        return None

    def forget(self, message: ChatMessage) -> None:
        """The message is no longer in the outbox."""
        self._conflicts.discard(message.id)

    def _send(self, message: ChatMessage) -> None:
        """Send it, with another token if the first is not taken."""
        token = self._bearer()
        try:
            self._history.add_message(message, token)
        except LoginNeeded:
            if not self._refresh(token):
                raise
            self._history.add_message(message, self._bearer())
