"""The WSGI application: blueprints, errors, request id, access guard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from flask import Blueprint, Flask, Request
from flask.json.provider import JSONProvider
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import MapAdapter

from cowork.dialects.placement import Placements
from cowork.lifecycle import Services
from cowork.web import (
    approvals,
    ask,
    client_address,
    console,
    docs,
    forks,
    guard,
    health,
    metrics,
    offers,
    outbox,
    problems,
    processes,
    request_log,
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
from cowork.web.dialects import ai_sdk, asking, chat, messages, models, reply_headers, responses
from cowork.web.disconnects import Disconnects
from cowork.web.streams import Streams


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
    addresses = client_address.ClientAddresses(settings.trusted_proxies)
    request_log.register(app, services.metrics, addresses)
    issued = tickets.Tickets(services.store, services.keys)
    guard.register(
        app,
        guard.Guard(
            services.keys,
            hosts=settings.allowed_hosts,
            origins=settings.allowed_origins,
            addresses=addresses,
            tickets=issued,
        ),
        services.metrics,
    )
    reply_headers.register(app)
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
    streams = Streams(disconnects, services.metrics, keepalive=keepalive)
    first_wait = services.settings.first_event_wait
    dialects = asking.Asking(
        turn_service, Placements(services.store), disconnects, streams, first_event_wait=first_wait
    )
    rejects_tools = services.settings.compat_tools == "reject"
    return [
        health.blueprint(services),
        ask.blueprint(turn_service, disconnects, streams, first_event_wait=first_wait),
        turns.blueprint(turn_service, streams, issued),
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
        chat.blueprint(dialects, rejects_tools=rejects_tools),
        messages.blueprint(dialects, rejects_tools=rejects_tools),
        models.blueprint(services.pool.offers),
        responses.blueprint(dialects, turn_service, rejects_tools=rejects_tools),
        ai_sdk.blueprint(dialects, turn_service, services.conversations),
        metrics.blueprint(services.shared_metrics.text, services.operators),
    ]
