"""The WSGI application: blueprints, errors, request id, access guard."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import orjson
from flask import Blueprint, Flask, Request, Response
from flask.globals import app_ctx, request_ctx
from flask.json.provider import JSONProvider
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import MapAdapter

from cowork import log as logging
from cowork.lifecycle import Services
from cowork.runtime.ids import new_hex
from cowork.web import (
    approvals,
    ask,
    client_address,
    console,
    docs,
    forks,
    guard,
    health,
    offers,
    outbox,
    problems,
    processes,
    session_reading,
    sessions,
    tickets,
    transfer_limits,
    turn_list,
    turns,
    url_segments,
    usage,
    workers,
    xo_auth,
)
from cowork.web.disconnects import Disconnects

log = logging.logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class _Json(JSONProvider):
    """orjson: keys in our order, text as it is."""

    def dumps(self, obj: Any, **_kwargs: Any) -> str:
        return orjson.dumps(obj, option=orjson.OPT_NON_STR_KEYS).decode()

    def loads(self, s: str | bytes, **_kwargs: Any) -> Any:
        return orjson.loads(s)


class _NoCookieSession(SessionInterface):
    """No session of Flask's: nothing here is kept in a cookie."""

    _null = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        del app, request
        return self._null

    def is_null_session(self, obj: object) -> bool:
        return obj is self._null


class _App(Flask):
    """Flask, without what it asks of each request though we know: what is async, Host, cookies."""

    session_interface = _NoCookieSession()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """As Flask's for one site: routes do not go by the Host, which is the guard's to look at.

        Flask looks at it twice.
        """
        if request is None:
            return super().create_url_adapter(None)
        method, scheme = request.method, request.scheme
        return MapAdapter(self.url_map, "localhost", "/", "", scheme, request.path, method)


def create_app(services: Services) -> Flask:
    """The application over these services; whoever made them closes them."""
    app = _App("cowork", static_folder=None)
    app.json = _Json(app)
    app.extensions["cowork"] = services
    settings = services.settings
    app.config["COWORK_MAX_BODY"] = settings.max_body
    _register_requests(app)
    issued = tickets.Tickets(services.store, services.keys)
    guard.register(
        app,
        guard.Guard(
            services.keys,
            hosts=settings.allowed_hosts,
            origins=settings.allowed_origins,
            addresses=client_address.ClientAddresses(settings.trusted_proxies),
            tickets=issued,
        ),
    )
    transfer_limits.register(app, services.reply_quota)
    url_segments.register(app)
    console.register(app)
    api = docs.register(app)
    problems.register(app)  # after the API's own handlers, which it replaces
    for blueprint in _blueprints(services, issued):
        api.register_blueprint(blueprint)
    return app


def _blueprints(services: Services, issued: tickets.Tickets) -> list[Blueprint]:
    turn_service, keepalive = services.turn_service, services.settings.keepalive
    disconnects = Disconnects(services.client_watcher)
    first_wait = services.settings.first_event_wait
    return [
        health.blueprint(services),
        ask.blueprint(turn_service, disconnects, first_event_wait=first_wait, keepalive=keepalive),
        turns.blueprint(turn_service, disconnects, issued, keepalive=keepalive),
        sessions.blueprint(turn_service, services.store),
        session_reading.blueprint(turn_service, services.store, services.conversations),
        forks.blueprint(turn_service, disconnects, timeout=services.settings.claude_timeout),
        turn_list.blueprint(turn_service.registry, services.store),
        processes.blueprint(services.processes, services.operators),
        xo_auth.blueprint(services.login, services.operators),
        outbox.blueprint(services.outbox),
        workers.blueprint(services.list_workers, services.operators),
        offers.blueprint(services.pool.offers),
        approvals.blueprint(
            turn_service.approvals,
            client_address.ClientAddresses(services.settings.trusted_proxies),
        ),
        usage.blueprint(services.store, services.operators),
    ]


def _register_requests(app: Flask) -> None:
    """Give each request its id, first of all, and a line in the log."""
    # `g` and `request` themselves, not through their proxies, each use of which takes a look-up.

    @app.before_request
    def begin() -> None:
        asked, kept = request_ctx.request, app_ctx.g
        given = asked.headers.get("X-Request-ID", "")
        kept.request_id = given if _REQUEST_ID.fullmatch(given) else new_hex()
        kept.begun = time.monotonic()
        logging.request_id.set(kept.request_id)

    @app.after_request
    def finish(reply: Response) -> Response:
        asked, kept = request_ctx.request, app_ctx.g
        turn_id = kept.get("turn_id")
        reply.headers["X-Request-ID"] = kept.request_id
        if turn_id is not None:
            reply.headers["X-Turn-ID"] = turn_id
        if kept.get("replayed"):
            reply.headers["Idempotent-Replayed"] = "true"
        log.info(
            "request",
            method=asked.method,
            turn_id=turn_id,
            path=asked.path,  # never the query: it may hold a poll token
            status=reply.status_code,
            ms=round((time.monotonic() - kept.begun) * 1000),
        )
        return reply
