"""What the headers of every reply to another API's client tell, an error's too."""

from __future__ import annotations

from urllib.parse import quote

from flask import Flask, Response
from flask.globals import app_ctx, request_ctx

from cowork.model import Project
from cowork.web.error_shapes import shape_of


def tell_session(project: Project, state: str) -> None:
    """Tell which project it is, nothing where it has no name, and what becomes of its session."""
    app_ctx.g.told_project = quote(project.told_name or "")
    tell_state(state)


def tell_state(state: str | None) -> None:
    """Tell what has become of the session after all; None is not known."""
    if state is not None:
        app_ctx.g.told_state = state


def tell_ignored(names: tuple[str, ...]) -> None:
    """Tell which fields of the request would have changed the answer, and did not."""
    if names:
        app_ctx.g.told_ignored = ", ".join(names)


def register(app: Flask) -> None:
    """Send them, and the request's id as both SDKs look for it."""

    @app.after_request
    def finish(reply: Response) -> Response:
        if shape_of(request_ctx.request) is None:
            return reply
        kept = app_ctx.g
        reply.headers["request-id"] = kept.request_id
        if "told_project" in kept:
            reply.headers["X-Cowork-Project"] = kept.told_project
            reply.headers["X-Session-State"] = kept.told_state
        if "told_ignored" in kept:
            reply.headers["X-Cowork-Ignored"] = kept.told_ignored
        return reply
