"""The login at start: once, with the auth session that the environment names."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from cowork.errors import CoworkError
from cowork.log import logger, masked
from cowork.model import XoToken
from cowork.xo.auth_api import XoUpstream, is_transient
from cowork.xo.login import AuthSession
from cowork.xo.token_source import TokenSource

log = logger(__name__)

RETRY_DELAYS_S = (1.0, 5.0)


def login_at_start(
    tokens: TokenSource,
    xo_auth: XoUpstream,
    configured: AuthSession,
    stop: threading.Event,
    *,
    retry_delays: Sequence[float] = RETRY_DELAYS_S,
) -> None:
    """Log in with the environment's auth session, if there is one; never raises.

    Meant for a thread of its own.  A try that failed for now is made again after each of
    `retry_delays` (s), unless `stop` is set or a client logged in or out meanwhile.
    """
    session, poll = configured.id, configured.poll_token
    if session is None and poll is None:
        return
    if session is None or poll is None:
        missing = "XO_AUTH_SESSION_ID" if session is None else "XO_POLL_TOKEN"
        log.warning("no login at start: one of two variables is not set", missing=missing)
        return
    try:
        _try(tokens, xo_auth, session, poll, stop, retry_delays)
    except CoworkError as fault:
        log.warning("login at start failed", code=fault.code, reason=masked(fault.message))
    except Exception as fault:  # noqa: BLE001 - a server without a login still answers
        log.warning("login at start failed", code="internal", reason=type(fault).__name__)


def _try(  # noqa: PLR0917 - one call
    tokens: TokenSource,
    xo_auth: XoUpstream,
    session: str,
    poll: str,
    stop: threading.Event,
    retry_delays: Sequence[float],
) -> None:
    changes = tokens.changes
    before: XoToken | None = None
    known = False
    for delay in (*retry_delays, None):
        if stop.is_set() or tokens.changes != changes:
            return
        try:
            if not known:
                before, known = tokens.stored(), True
                if before is not None and _is_of(tokens, before, session):
                    return  # an earlier run, or another worker, did this already
            grant = xo_auth.consume(session, poll, token=tokens.bearer())
        except CoworkError as fault:
            if delay is None or not is_transient(fault):
                raise
            stop.wait(delay)
            continue
        # A client that logged in or out since did what is newer than our wish.
        if tokens.put_first(grant, session, before=before, changes=changes):
            log.info("logged in at start", user_id=grant.user_id)
        return


def _is_of(tokens: TokenSource, token: XoToken, auth_session_id: str) -> bool:
    return token.auth_session_id == auth_session_id and tokens.is_usable(token)
