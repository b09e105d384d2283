"""The XO token in use: the stored one, refreshed where upstream allows that, or the operator's.

Two tokens may be held at once: the stored one, from a login, and the operator's `CHAT_API_TOKEN`.
The stored one goes first while it lasts; logging out forgets it and leaves the operator's alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from cowork.errors import CoworkError, UpstreamRefused
from cowork.log import logger, masked, register_secret
from cowork.model import XoToken
from cowork.stores.protocol import TokenStore
from cowork.xo.auth_api import Grant, XoUpstream, is_transient

log = logger(__name__)

# A token that ends within this time may end on its way to the upstream.
_EXPIRY_MARGIN = timedelta(seconds=60)
_NO_SUCH_PATH = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}


def _now() -> datetime:
    return datetime.now(UTC)


class TokenSource:
    """Keeps the token in the store and hands it out, to any thread.

    `clock` tells the time of day, with its zone.  Each method may raise `StoreUnavailable`.
    """

    def __init__(
        self,
        store: TokenStore,
        xo_auth: XoUpstream,
        *,
        static_token: str | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._store = store
        self._xo_auth = xo_auth
        self._static_token = static_token
        self._static_user_id: str | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        self._refreshes = 0
        self._on_change: Callable[[], None] = lambda: None
        self.changes = 0
        register_secret(static_token)

    def on_change(self, call: Callable[[], None]) -> None:
        """Have `call` called, from any thread, when another token is used from now on."""
        self._on_change = call

    def bearer(self) -> str | None:
        """The token for a call to the upstream: the stored one while it lasts, then the static."""
        current = self.current()
        return current.access_token if current is not None and self.is_usable(current) else None

    def current(self) -> XoToken | None:
        """The token in use; where none can be used, the stored one that has expired."""
        stored = self._store.token()
        if stored is not None:
            # Another worker, or an earlier run, may have stored it.
            register_secret(stored.access_token, stored.refresh_token)
        if self._static_token is None or (stored is not None and self.is_usable(stored)):
            return stored
        return XoToken(self._static_token, None, None, self._static_user_id, None)

    def stored(self) -> XoToken | None:
        """The stored token, expired or not."""
        return self._store.token()

    def is_usable(self, token: XoToken) -> bool:
        """Whether it lasts long enough for a call."""
        return token.expires_at is None or self._clock() < token.expires_at - _EXPIRY_MARGIN

    def secrets(self) -> tuple[str | None, ...]:
        """What must never be shown: both tokens, and the refresh token."""
        stored = self._store.token()
        refresh_token = stored.refresh_token if stored is not None else None
        return self.bearer(), refresh_token, self._static_token

    # -- another token

    def put(self, grant: Grant, auth_session_id: str | None) -> None:
        """Store the token of a completed login."""
        with self._lock:
            self._store.put_token(self._token_of(grant, auth_session_id))
            self.changes += 1
        self._on_change()

    def put_first(
        self, grant: Grant, auth_session_id: str, *, before: XoToken | None, changes: int
    ) -> bool:
        """As `put`, where the store still has `before` and nothing was put or cleared meanwhile."""
        with self._lock:
            expected = None if before is None else before.access_token
            token = self._token_of(grant, auth_session_id)
            if self.changes != changes or not self._store.compare_and_set_token(expected, token):
                return False
            self.changes += 1
        self._on_change()
        return True

    def clear(self) -> None:
        """Forget the stored token."""
        with self._lock:
            self._store.put_token(None)
            self.changes += 1
        self._on_change()

    def set_user_id(self, user_id: str, asked_with: str) -> None:
        """Note the user id, unless the token was replaced or forgotten while we asked."""
        with self._lock:
            stored = self._store.token()
            if stored is not None and stored.access_token == asked_with:
                self._store.compare_and_set_token(asked_with, replace(stored, user_id=user_id))
            if self._static_token == asked_with:
                self._static_user_id = user_id

    def refresh(self, rejected: str | None) -> bool:
        """Get another token than `rejected` (None: than none) where there is a way.

        True where another is held now.  Who asks while another asks waits for its outcome.
        """
        refreshes = self._refreshes
        with self._refreshing:
            if self._refreshes == refreshes and self.bearer() in {None, rejected}:
                try:
                    self._refresh(rejected)
                finally:
                    self._refreshes += 1
        return self.bearer() not in {None, rejected}

    def _refresh(self, rejected: str | None) -> None:
        """Ask for a grant with the stored token's refresh token, if that one is of no use now."""
        stored = self._store.token()
        if stored is None or stored.refresh_token is None:
            return
        if stored.access_token != rejected and self.is_usable(stored):
            return
        try:
            grant = self._xo_auth.refresh(stored.refresh_token)
        except CoworkError as fault:
            self._on_refresh_failed(stored, fault)
            return
        if grant is None:
            return
        token = self._token_of(grant, stored.auth_session_id)
        token = replace(
            token,
            refresh_token=token.refresh_token or stored.refresh_token,
            user_id=token.user_id or stored.user_id,
        )
        if self._store.compare_and_set_token(stored.access_token, token):
            self.changes += 1
            log.info("xo token refreshed")
            self._on_change()

    def _on_refresh_failed(self, stored: XoToken, fault: CoworkError) -> None:
        final = isinstance(fault, UpstreamRefused) and not (
            is_transient(fault) or fault.status in _NO_SUCH_PATH
        )
        if final:
            # The access token stays: who is logged in, and whether, is not for this to decide.
            self._store.compare_and_set_token(
                stored.access_token, replace(stored, refresh_token=None)
            )
        log.warning(
            "xo token refresh failed", code=fault.code, reason=masked(fault.message), for_good=final
        )

    def _token_of(self, grant: Grant, auth_session_id: str | None) -> XoToken:
        register_secret(grant.access_token, grant.refresh_token)
        lifetime = grant.expires_in
        return XoToken(
            access_token=grant.access_token,
            refresh_token=grant.refresh_token,
            expires_at=None if lifetime is None else self._clock() + timedelta(seconds=lifetime),
            user_id=grant.user_id,
            auth_session_id=grant.auth_session_id or auth_session_id,
        )
