"""The Chat API, where the history of every project is kept.

What a reply means for a message:

    2xx                             delivered; the body is of no interest
    401; 403 to a call without one  not now: another token mends that
    408, 425, 429, 5xx, 3xx, none   not now
    every other 4xx                 never: the same message would be refused again
                                    (403 to a call with a token: whose it is may not do this;
                                    409 to a message that is sent again is `relay.py`'s to judge)
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Protocol

from cowork.errors import BadUpstream, UpstreamTimeout
from cowork.model import ChatMessage
from cowork.upstream.http import Request, UpstreamClient

_NOT_NOW = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
# Of those, what is said before anything is looked at.
_UNSEEN = frozenset({HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


class NotDelivered(Exception):
    """The Chat API did not take a message; an outcome for the outbox, never a client's error."""


class Refused(NotDelivered):
    """The Chat API will never take this message; `status` is its 4xx."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the Chat API refused the message with {status}")
        self.status = status


class LoginNeeded(NotDelivered):
    """The Chat API takes no message with `token`, the one that was sent, or with none."""

    def __init__(self, status: int, token: str | None) -> None:
        super().__init__(f"the Chat API answered {status}")
        self.token = token


class Unreachable(NotDelivered):
    """The message was not taken now, and may be later.

    `reason` is a sentence for the log; `retry_after` is seconds, where the reply named them;
    `unseen` is whether it surely has not been kept.
    """

    def __init__(
        self, reason: str, *, retry_after: float | None = None, unseen: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.unseen = unseen


class ChatHistory(Protocol):
    """Where chat messages go."""

    def add_message(self, message: ChatMessage, token: str | None) -> None:
        """Deliver one message; raises `Refused`, `LoginNeeded` or `Unreachable`."""


class ChatApi:
    """The real one; a message sent twice carries the same `Idempotency-Key`."""

    def __init__(self, client: UpstreamClient) -> None:
        self._client = client

    def add_message(self, message: ChatMessage, token: str | None) -> None:
        key = {"Idempotency-Key": message.id}
        try:
            reply = self._client.deliver(
                Request("POST", "/chat/add_message", body=_body(message), token=token, headers=key)
            )
        except (BadUpstream, UpstreamTimeout) as fault:
            raise Unreachable(fault.message, unseen=fault.unsent) from None
        if _wants_login(reply.status, token):
            raise LoginNeeded(reply.status, token)
        if reply.refused and reply.status not in _NOT_NOW:
            raise Refused(reply.status)
        if not reply.ok:
            reason = f"the Chat API answered {reply.status}"
            unseen = reply.status in _UNSEEN
            raise Unreachable(reason, retry_after=reply.retry_after, unseen=unseen)


class NoChatApi:
    """What stands in where `CHAT_API_BASE_URL` is empty: history goes nowhere."""

    def add_message(self, message: ChatMessage, token: str | None) -> None:
        """Nothing is kept anywhere."""


def _wants_login(status: int, token: str | None) -> bool:
    # Servers that know bearer tokens alone answer 403 to a call that has none.
    return status == HTTPStatus.UNAUTHORIZED or (status == HTTPStatus.FORBIDDEN and token is None)


def _body(message: ChatMessage) -> dict[str, Any]:
    body: dict[str, Any] = {
        "project_id": message.project.name,
        "user_id": message.user_id,
        "message": message.message,
        "type": message.type,
    }
    if message.status is not None:
        body["status"] = message.status
    return body
