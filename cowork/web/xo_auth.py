"""`/xo-auth/*`: the XO browser login."""

from __future__ import annotations

from typing import Any

from flask import Response, g, jsonify, request

from cowork.errors import Forbidden
from cowork.model import XoToken
from cowork.settings.api_keys import Operators
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.schemas.base import MessageReply
from cowork.web.schemas.health import AuthState
from cowork.web.schemas.problems import ProblemReply
from cowork.web.schemas.xo_auth import (
    AuthConsumeBody,
    AuthConsumeReply,
    AuthStartBody,
    AuthStatusQuery,
    WhoamiReply,
)
from cowork.web.timestamps import founding
from cowork.xo.login import XoLogin

_REFUSED = "The key is among neither COWORK_ADMIN_KEYS nor COWORK_LOGIN_KEYS"
# What every key may ask; the rest is the server's one login, which everybody's history goes by.
_FOR_ALL = frozenset({"xo_auth.whoami", "xo_auth.state"})


def blueprint(login: XoLogin, operators: Operators) -> CoworkBlueprint:
    """The login's endpoints; what upstream answers to start and status is passed on as it is."""
    routes = CoworkBlueprint(
        "xo_auth", __name__, url_prefix="/xo-auth", description="The XO browser login"
    )

    @routes.before_request
    def check() -> None:
        if request.endpoint not in _FOR_ALL and not operators.may_login(g.key_owner):
            raise Forbidden("this key may not begin or end the XO login; see COWORK_LOGIN_KEYS")

    @routes.post("/start")
    @routes.arguments(AuthStartBody, required=False)
    @routes.response(200, {"type": "object"}, description="Upstream's reply as it is")
    @routes.alt_response(403, schema=ProblemReply, description=_REFUSED)
    def start(body: dict[str, Any]) -> Response:
        """Begin a login: gives `authorize_url`, `auth_session_id` and `poll_token`."""
        return jsonify(login.start(body["scopes"], body["client_reference"]))

    @routes.get("/status/<auth_session_id>")
    @routes.arguments(AuthStatusQuery, location="query")
    @routes.response(200, {"type": "object"}, description="Upstream's reply as it is")
    @routes.alt_response(403, schema=ProblemReply, description=_REFUSED)
    def status(query: dict[str, Any], auth_session_id: str) -> Response:
        """Ask how far a login is."""
        return jsonify(login.status(auth_session_id, query["poll_token"]))

    @routes.post("/consume")
    @routes.arguments(AuthConsumeBody, required=False)
    @routes.response(200, AuthConsumeReply)
    @routes.alt_response(403, schema=ProblemReply, description=_REFUSED)
    def consume(body: dict[str, Any]) -> dict[str, Any]:
        """Fetch and keep the token of a finished login."""
        grant = login.consume(body["auth_session_id"], body["poll_token"])
        return {
            "success": True,
            "message": "Authentication completed and token stored",
            "user_id": grant.user_id,
            "expires_in": grant.expires_in,
            "scope": grant.scope,
        }

    @routes.get("/whoami")
    @routes.response(200, WhoamiReply)
    def whoami() -> dict[str, Any]:
        """Whose the token is, by asking upstream."""
        return {"success": True, "user_id": login.whoami()}

    @routes.get("/state")
    @routes.response(200, AuthState)
    def state() -> dict[str, Any]:
        """What we hold; never a token."""
        return state_reply(*login.current())

    @routes.post("/logout")
    @routes.response(200, MessageReply)
    @routes.alt_response(403, schema=ProblemReply, description=_REFUSED)
    def logout() -> dict[str, Any]:
        """Forget the stored token."""
        login.logout()
        return {"success": True, "message": "Auth token cleared"}

    return routes


def state_reply(token: XoToken | None = None, is_usable: bool = False) -> dict[str, Any]:
    """The contract's `auth` object of the token in use; `expires_at` is in UTC.  Never a token."""
    if token is None:
        return {
            "authenticated": False,
            "user_id": None,
            "expires_at": None,
            "auth_session_id": None,
            "token_source": "none",
        }
    expires = token.expires_at
    return {
        "authenticated": is_usable,
        "user_id": token.user_id,
        "expires_at": None if expires is None else founding(expires),
        "auth_session_id": token.auth_session_id,
        "token_source": "dynamic_or_env",
    }
