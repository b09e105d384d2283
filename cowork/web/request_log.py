"""Each request's id, its line in the log, and its share of the metrics."""

from __future__ import annotations

import re
import time
from typing import Any

from flask import Flask, Response
from flask.globals import app_ctx, request_ctx

from cowork import log as logging
from cowork.runtime.ids import new_hex
from cowork.telemetry import traceparent
from cowork.telemetry.catalogue import HTTP_DURATION, HTTP_REQUESTS
from cowork.telemetry.metrics import Metrics
from cowork.web.client_address import ClientAddresses

log = logging.logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Of the environ: a stream says here how it ended (`sse.py`).
STREAM_FACTS = "cowork.stream_facts"


def register(app: Flask, metrics: Metrics, addresses: ClientAddresses) -> None:
    """Give each request its id, first of all, and a line in the log: a stream at its end."""
    # `g` and `request` themselves, not through their proxies, each use of which takes a look-up.

    @app.before_request
    def begin() -> None:
        asked, kept = request_ctx.request, app_ctx.g
        given = asked.headers.get("X-Request-ID", "")
        kept.request_id = given if _REQUEST_ID.fullmatch(given) else new_hex()
        kept.begun = time.monotonic()
        logging.request_id.set(kept.request_id)
        kept.traceparent = traceparent.parse(asked.headers.get(traceparent.HEADER))
        logging.traceparent.set(kept.traceparent)

    @app.after_request
    def finish(reply: Response) -> Response:
        asked, kept = request_ctx.request, app_ctx.g
        turn_id = kept.get("turn_id")
        reply.headers["X-Request-ID"] = kept.request_id
        if turn_id is not None:
            reply.headers["X-Turn-ID"] = turn_id
        if kept.get("replayed"):
            reply.headers["Idempotent-Replayed"] = "true"
        method = asked.method if asked.method in _METHODS else "other"
        route = asked.url_rule.rule if asked.url_rule is not None else "none"
        metrics.count(HTTP_REQUESTS, method, route, str(reply.status_code))
        facts = {
            "method": asked.method,
            "turn_id": turn_id,
            "path": asked.path,  # never the query: it may hold a poll token
            "route": route,
            "status": reply.status_code,
            "peer": addresses.source(asked.environ),
            "key": kept.get("owner") or None,
        }
        begun, is_stream = kept.begun, reply.mimetype == "text/event-stream"

        def end() -> None:
            metrics.observe(HTTP_DURATION, time.monotonic() - begun, method, route)
            if is_stream:
                told = asked.environ.get(STREAM_FACTS, {})
                # In whatever greenlet this is closed.
                named = {"request_id": kept.request_id}
                if kept.traceparent is not None:
                    named["traceparent"] = kept.traceparent
                _tell(facts, begun, **named, **told)

        if reply.direct_passthrough:  # a file, which werkzeug closes without us
            end()
        else:
            reply.call_on_close(end)
        if not is_stream:
            _tell(facts, begun, bytes=reply.content_length)
        return reply


def _tell(facts: dict[str, Any], begun: float, **more: Any) -> None:
    log.info("request", **facts, ms=round((time.monotonic() - begun) * 1000), **more)
