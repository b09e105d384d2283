"""`/`, `/health`, `/health/live` and `/health/ready`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from flask import Response, g, jsonify, request

from cowork import __version__
from cowork.errors import StoreUnavailable
from cowork.lifecycle import Services
from cowork.web import console
from cowork.web.blueprint import CoworkBlueprint
from cowork.web.outbox import status_reply
from cowork.web.schemas.health import HealthReply, ReadyReply, RootReply
from cowork.web.timestamps import founding
from cowork.web.xo_auth import state_reply


def blueprint(services: Services) -> CoworkBlueprint:
    """Liveness, readiness and the state of each part; nothing here waits for anything."""
    routes = CoworkBlueprint(
        "health", __name__, description="Liveness, readiness and the state of each part"
    )

    @routes.get("/")
    @routes.response(200, RootReply)
    def read_root() -> Response:
        """The service runs; a browser, which asks for HTML, gets the console."""
        if console.wants_page(request):
            return console.page()
        reply = jsonify({"status": "XO Cowork API running"})
        reply.vary.add("Accept")
        return reply

    @routes.get("/health")
    @routes.response(200, HealthReply)
    def read_health() -> dict[str, Any]:
        """Whether the process serves (`status`), and the state of each part."""
        return _health_reply(services)

    @routes.get("/health/live")
    @routes.response(200, RootReply)
    def read_liveness() -> dict[str, str]:
        """Liveness; needs no key and says nothing else."""
        return {"status": "live"}

    @routes.get("/health/ready")
    @routes.response(200, ReadyReply)
    @routes.alt_response(503, schema=ReadyReply, description="Not ready")
    def read_readiness() -> Response:
        """Readiness: whether a question would be answered now; why not, to authorized callers."""
        reasons = services.readiness.reasons()
        told: dict[str, Any] = {"ready": not reasons}
        if not g.hides_reasons:
            told["reasons"] = reasons
        reply = jsonify(told)
        reply.status_code = 503 if reasons else 200
        return reply

    return routes


def _health_reply(services: Services) -> dict[str, Any]:
    reasons, settings = services.readiness.reasons(), services.settings
    return {
        "status": "healthy",
        "timestamp": founding(datetime.now(UTC)),
        "chat_api_url": settings.chat_api_base_url,
        "auth": _auth(services),
        "ai_provider": "claude",
        "claude_cli": settings.claude_cli_path,
        "active_sessions": services.session_count(),
        "ready": not reasons,
        "reasons": reasons,
        "claude": {
            **asdict(services.cli.state()),
            "unknown_events": services.cli.unknown_events.counts(),
        },
        "processes": asdict(services.pool.counts()),
        "chat_api": status_reply(services.outbox.status),
        "store": {
            "kind": settings.store.partition(":")[0],
            "ok": services.maintenance.ok,
        },
        "turns": services.turn_service.busy(),
        "features": {
            "approvals": settings.approvals,
            "checkpoints": settings.checkpoints,
            "demo": settings.demo,
        },
        "version": __version__,
        # Of the FastAPI service's later versions, whose clients look for them.
        "stage": None,
        "codex_cli": None,
    }


def _auth(services: Services) -> dict[str, Any]:
    """The login's state; while the store is unavailable no token is held, as far as known."""
    try:
        return state_reply(*services.login.current())
    except StoreUnavailable:
        return state_reply()
