"""`GET /metrics`: figures for Prometheus, of all workers behind this port."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, g

from cowork.errors import Forbidden
from cowork.settings.api_keys import Operators
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.schemas.problems import ProblemReply

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def blueprint(text: Callable[[], bytes], operators: Operators) -> CoworkBlueprint:
    """For callers on this machine, operators, and whom COWORK_METRICS_KEYS names."""
    routes = CoworkBlueprint("metrics", __name__, description="Figures for Prometheus")

    @routes.get("/metrics")
    @routes.response(
        200,
        {"type": "string"},
        content_type="text/plain",
        description="Prometheus' text format; docs/metrics.md lists the metrics.",
    )
    @routes.alt_response(403, schema=ProblemReply, description="For operators alone")
    def read_metrics() -> Response:
        """What all workers behind this port have counted; from this machine without a key."""
        if not (g.is_local_reader or operators.may_read_metrics(g.key_owner)):
            raise Forbidden("this key may not read metrics; see COWORK_METRICS_KEYS")
        return Response(text(), content_type=CONTENT_TYPE)

    return routes
