"""The XO browser login: begin it, ask how far it is, fetch its token, forget that again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cowork.errors import BadUpstream, MissingAuthSession, NotLoggedIn
from cowork.log import register_secret
from cowork.model import XoToken
from cowork.xo.auth_api import Grant, XoUpstream, holds_secret
from cowork.xo.token_source import TokenSource


@dataclass(frozen=True, slots=True)
class AuthSession:
    """A login under way: its id and its poll token, None where they are not known."""

    id: str | None
    poll_token: str | None

    @classmethod
    def of(cls, auth_session_id: str | None, poll_token: str | None) -> AuthSession:
        """Both trimmed; what is blank is None."""
        register_secret(auth_session_id, poll_token)
        return cls(_blank_to_none(auth_session_id), _blank_to_none(poll_token))


class XoLogin:
    """Logs in through the upstream, and has `tokens` keep what comes of it.

    `configured` is the environment's auth session.  Beside the errors its methods name, each may
    raise those of `XoUpstream` and `StoreUnavailable`.
    """

    def __init__(self, tokens: TokenSource, xo_auth: XoUpstream, configured: AuthSession) -> None:
        self._tokens = tokens
        self._xo_auth = xo_auth
        self._configured = configured

    def start(self, scopes: Any = None, client_reference: Any = None) -> dict[str, Any]:
        """Begin a login; the upstream's JSON object as it is."""
        return self._xo_auth.start(scopes, client_reference, token=self._tokens.bearer())

    def status(self, auth_session_id: str, poll_token: str) -> dict[str, Any]:
        """How far a login is; the upstream's JSON object as it is."""
        return self._xo_auth.status(auth_session_id, poll_token, token=self._tokens.bearer())

    def consume(self, auth_session_id: str | None, poll_token: str | None) -> Grant:
        """Take and store the token of a completed login.

        A blank value falls back, on its own, to the environment's.
        Raises `MissingAuthSession` where that leaves one of them blank.
        """
        session = _blank_to_none(auth_session_id) or self._configured.id
        poll = _blank_to_none(poll_token) or self._configured.poll_token
        if session is None or poll is None:
            raise MissingAuthSession(
                "auth_session_id and poll_token are needed, in the request or as "
                "XO_AUTH_SESSION_ID and XO_POLL_TOKEN"
            )
        grant = self._xo_auth.consume(session, poll, token=self._tokens.bearer())
        self._tokens.put(grant, session)
        return grant

    def whoami(self) -> str:
        """Ask the upstream for the id of the user whose token we hold, and remember it.

        Raises `NotLoggedIn`.
        """
        token = self._tokens.bearer()
        if token is None and self._tokens.refresh(None):
            token = self._tokens.bearer()
        if token is None:
            raise NotLoggedIn("no XO token is held; log in with POST /xo-auth/start")
        user_id = self._xo_auth.user_id(token)
        if holds_secret(user_id, token, *self._tokens.secrets()):
            raise BadUpstream("the upstream's answer has a token for a user_id")
        self._tokens.set_user_id(user_id, token)
        return user_id

    def current(self) -> tuple[XoToken | None, bool]:
        """The token in use, and whether it is usable; never to be shown as it is."""
        token = self._tokens.current()
        return token, token is not None and self._tokens.is_usable(token)

    def logout(self) -> None:
        """Forget the stored token."""
        self._tokens.clear()


def _blank_to_none(value: str | None) -> str | None:
    """`value` trimmed, or None where nothing is left."""
    return (value or "").strip() or None
