"""The login and the source of its tokens, put together as the server does it."""

from __future__ import annotations

import threading

from cowork.web.xo_auth import state_reply
from cowork.xo.login import AuthSession, XoLogin
from cowork.xo.startup_login import login_at_start
from cowork.xo.token_source import TokenSource


class Parts:
    """Both, under the names of their methods."""

    def __init__(
        self,
        store,
        xo_auth,
        *,
        static_token=None,
        env_auth_session_id=None,
        env_poll_token=None,
        **more,
    ):
        self.xo_auth = xo_auth
        self.tokens = TokenSource(store, xo_auth, static_token=static_token, **more)
        self.configured = AuthSession.of(env_auth_session_id, env_poll_token)
        self.login = XoLogin(self.tokens, xo_auth, self.configured)
        self.bearer, self.refresh = self.tokens.bearer, self.tokens.refresh
        self.on_change = self.tokens.on_change
        self.start, self.status = self.login.start, self.login.status
        self.consume, self.whoami = self.login.consume, self.login.whoami
        self.logout = self.login.logout

    def state(self):
        return state_reply(*self.login.current())

    def login_at_start(self, stop=None, **more):
        login_at_start(
            self.tokens, self.xo_auth, self.configured, stop or threading.Event(), **more
        )
