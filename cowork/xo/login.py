"""The XO browser login, and the token we hold.

Two tokens may be held at once: the stored one, from a login, and the operator's `CHAT_API_TOKEN`.
The stored one goes first while it lasts; logging out forgets it and leaves the operator's alone.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from cowork.errors import (
    BadUpstream,
    CoworkError,
    MissingAuthSession,
    NotLoggedIn,
    StoreUnavailable,
    UpstreamRefused,
    UpstreamTimeout,
)
from cowork.log import logger, masked, register_secret
from cowork.model import XoToken
from cowork.stores.protocol import Store
from cowork.xo.auth_api import Grant, XoUpstream, holds_secret

log = logger(__name__)

# A token that ends within this time may end on its way to the upstream.
_SKEW = timedelta(seconds=60)
_PAUSES = (1.0, 5.0)
_NO_SUCH_PATH = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}
_WORTH_A_RETRY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


def _now() -> datetime:
    return datetime.now(UTC)


class Login:
    """Logs in through the upstream, keeps the token in the store and hands it out.

    `clock` tells the time of day, with its zone.  Beside the errors its methods name, each may
    raise those of `XoUpstream` and `StoreUnavailable`.
    """

    def __init__(
        self,
        store: Store,
        xo_auth: XoUpstream,
        *,
        static_token: str | None = None,
        env_auth_session_id: str | None = None,
        env_poll_token: str | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._store = store
        self._xo_auth = xo_auth
        self._static_token = static_token
        self._static_user_id: str | None = None
        self._env_auth_session_id = env_auth_session_id
        self._env_poll_token = env_poll_token
        self._clock = clock
        self._lock = threading.Lock()
        self._changes = 0
        self._renewing = threading.Lock()
        self._renewals = 0
        self._on_change: Callable[[], None] = lambda: None
        register_secret(static_token, env_auth_session_id, env_poll_token)

    def on_change(self, call: Callable[[], None]) -> None:
        """Have `call` called, from any thread, when another token is used from now on."""
        self._on_change = call

    def start(self, scopes: Any = None, client_reference: Any = None) -> dict[str, Any]:
        """Begin a login; the upstream's JSON object as it is."""
        return self._xo_auth.start(scopes, client_reference, token=self.bearer())

    def status(self, auth_session_id: str, poll_token: str) -> dict[str, Any]:
        """How far a login is; the upstream's JSON object as it is."""
        return self._xo_auth.status(auth_session_id, poll_token, token=self.bearer())

    def consume(self, auth_session_id: str | None, poll_token: str | None) -> dict[str, Any]:
        """Take and store the token of a completed login; the contract's reply.

        A blank value falls back, on its own, to the environment's.
        Raises `MissingAuthSession` where that leaves one of them blank.
        """
        session = _named(auth_session_id) or _named(self._env_auth_session_id)
        poll = _named(poll_token) or _named(self._env_poll_token)
        if session is None or poll is None:
            raise MissingAuthSession(
                "auth_session_id and poll_token are needed, in the request or as "
                "XO_AUTH_SESSION_ID and XO_POLL_TOKEN"
            )
        grant = self._xo_auth.consume(session, poll, token=self.bearer())
        with self._lock:
            self._store.put_token(self._token(grant, session))
            self._changes += 1
        self._on_change()
        return {
            "success": True,
            "message": "Authentication completed and token stored",
            "user_id": grant.user_id,
            "expires_in": grant.expires_in,
            "scope": grant.scope,
        }

    def whoami(self) -> dict[str, Any]:
        """Ask the upstream whose token we hold, and remember it; raises `NotLoggedIn`."""
        token = self.bearer()
        if token is None and self.renew(None):
            token = self.bearer()
        if token is None:
            raise NotLoggedIn("no XO token is held; log in with POST /xo-auth/start")
        user_id = self._xo_auth.user_id(token)
        stored = self._store.token()
        refresh_token = stored.refresh_token if stored is not None else None
        if holds_secret(user_id, token, refresh_token, self._static_token):
            raise BadUpstream("the upstream's answer has a token for a user_id")
        self._remember(user_id, token)
        return {"success": True, "user_id": user_id}

    def state(self) -> dict[str, Any]:
        """The contract's `auth` object; `expires_at` is ISO 8601 in UTC.  Never a token."""
        held = self._held()
        return {
            "authenticated": held is not None and self._lasts(held),
            "user_id": held and held.user_id,
            "expires_at": held and held.expires_at and held.expires_at.astimezone(UTC).isoformat(),
            "auth_session_id": held and held.auth_session_id,
            "token_source": "none" if held is None else "dynamic_or_env",
        }

    def logout(self) -> dict[str, Any]:
        """Forget the stored token; the contract's reply."""
        with self._lock:
            self._store.put_token(None)
            self._changes += 1
        self._on_change()
        return {"success": True, "message": "Auth token cleared"}

    def bearer(self) -> str | None:
        """The token for a call to the upstream: the stored one while it lasts, then the static."""
        held = self._held()
        return held.access_token if held is not None and self._lasts(held) else None

    def renew(self, rejected: str | None) -> bool:
        """Get another token than `rejected` (None: than none) where there is a way.

        True where another is held now.  Who asks while another asks waits for its outcome.
        """
        renewals = self._renewals
        with self._renewing:
            if self._renewals == renewals and self.bearer() in {None, rejected}:
                try:
                    self._refresh(rejected)
                finally:
                    self._renewals += 1
        return self.bearer() not in {None, rejected}

    def _refresh(self, rejected: str | None) -> None:
        """Ask for a grant with the stored token's refresh token, if that one is of no use now."""
        stored = self._store.token()
        if stored is None or stored.refresh_token is None:
            return
        if stored.access_token != rejected and self._lasts(stored):
            return
        try:
            grant = self._xo_auth.refresh(stored.refresh_token)
        except CoworkError as fault:
            self._refresh_failed(stored, fault)
            return
        if grant is None:
            return
        token = self._token(grant, stored.auth_session_id)
        token = dataclasses.replace(
            token,
            refresh_token=token.refresh_token or stored.refresh_token,
            user_id=token.user_id or stored.user_id,
        )
        if self._store.compare_and_set_token(stored.access_token, token):
            self._changes += 1
            log.info("xo token renewed")
            self._on_change()

    def _refresh_failed(self, stored: XoToken, fault: CoworkError) -> None:
        final = isinstance(fault, UpstreamRefused) and not (
            _passes(fault) or fault.status in _NO_SUCH_PATH
        )
        if final:
            # The access token stays: who is logged in, and whether, is not for this to decide.
            self._store.compare_and_set_token(
                stored.access_token, dataclasses.replace(stored, refresh_token=None)
            )
        log.warning(
            "xo token not renewed", code=fault.code, reason=masked(fault.message), for_good=final
        )

    def consume_at_start(
        self, stop: threading.Event | None = None, *, pauses: Sequence[float] = _PAUSES
    ) -> None:
        """Log in once with the environment's auth session, if there is one; never raises.

        Meant for a thread of its own.  A try that failed for now is made again after each of
        `pauses` (seconds), unless `stop` is set or a client logged in or out meanwhile.
        """
        session, poll = _named(self._env_auth_session_id), _named(self._env_poll_token)
        if session is None and poll is None:
            return
        if session is None or poll is None:
            missing = "XO_AUTH_SESSION_ID" if session is None else "XO_POLL_TOKEN"
            log.warning("no login at start: one of two variables is not set", missing=missing)
            return
        try:
            self._try_at_start(session, poll, stop or threading.Event(), pauses)
        except CoworkError as fault:
            log.warning("login at start failed", code=fault.code, reason=masked(fault.message))
        except Exception as fault:  # noqa: BLE001 - a server without a login still answers
            log.warning("login at start failed", code="internal", reason=type(fault).__name__)

    def _try_at_start(
        self, session: str, poll: str, stop: threading.Event, pauses: Sequence[float]
    ) -> None:
        changes = self._changes
        before: XoToken | None = None
        known = False
        for pause in (*pauses, None):
            if stop.is_set() or self._changes != changes:
                return
            try:
                if not known:
                    before, known = self._store.token(), True
                    if before is not None and self._is_of(before, session):
                        return  # an earlier run, or another worker, did this already
                grant = self._xo_auth.consume(session, poll, token=self.bearer())
            except CoworkError as fault:
                if pause is None or not _passes(fault):
                    raise
                stop.wait(pause)
                continue
            with self._lock:
                expected = None if before is None else before.access_token
                token = self._token(grant, session)
                # A client that logged in or out since did what is newer than our wish.
                if self._changes != changes or not self._store.compare_and_set_token(
                    expected, token
                ):
                    return
                self._changes += 1
            log.info("logged in at start", user_id=grant.user_id)
            self._on_change()
            return

    def _is_of(self, token: XoToken, auth_session_id: str) -> bool:
        return token.auth_session_id == auth_session_id and self._lasts(token)

    def _token(self, grant: Grant, auth_session_id: str | None) -> XoToken:
        register_secret(grant.access_token, grant.refresh_token)
        lifetime = grant.expires_in
        return XoToken(
            access_token=grant.access_token,
            refresh_token=grant.refresh_token,
            expires_at=None if lifetime is None else self._clock() + timedelta(seconds=lifetime),
            user_id=grant.user_id,
            auth_session_id=grant.auth_session_id or auth_session_id,
        )

    def _remember(self, user_id: str, asked_with: str) -> None:
        """Note the user id, unless the token was replaced or forgotten while we asked."""
        with self._lock:
            stored = self._store.token()
            if stored is not None and stored.access_token == asked_with:
                self._store.compare_and_set_token(
                    asked_with, dataclasses.replace(stored, user_id=user_id)
                )
            if self._static_token == asked_with:
                self._static_user_id = user_id

    def _held(self) -> XoToken | None:
        """The token in use; where none can be used, the stored one that ran out."""
        stored = self._store.token()
        if stored is not None:
            # Another worker, or an earlier run, may have stored it.
            register_secret(stored.access_token, stored.refresh_token)
        if self._static_token is None or (stored is not None and self._lasts(stored)):
            return stored
        return XoToken(self._static_token, None, None, self._static_user_id, None)

    def _lasts(self, token: XoToken) -> bool:
        return token.expires_at is None or self._clock() < token.expires_at - _SKEW


def _named(value: str | None) -> str | None:
    """`value` trimmed, or None where nothing is left."""
    return (value or "").strip() or None


def _passes(fault: CoworkError) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(fault, UpstreamRefused):
        return fault.status in _WORTH_A_RETRY
    return isinstance(fault, BadUpstream | UpstreamTimeout | StoreUnavailable)
