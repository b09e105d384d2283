"""Which shape a request's errors have: ours, or those of the API whose client it is.

By the path alone, so that also what comes before any route (no key, no such route) is in a shape
that the client reads.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from flask import Request, Response, jsonify
from flask.globals import app_ctx, request_ctx

from cowork.dialects.errors import (
    RETRY_AFTER_S,
    ErrorRow,
    anthropic_error,
    openai_error,
    row_of,
    row_of_status,
)
from cowork.errors import CoworkError, InvalidValue


class Shape(Enum):
    """Whose errors a client reads."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    # What the reply says is shown to the person as it is.
    AI_SDK = "ai_sdk"


def shape_of(asked: Request) -> Shape | None:
    """The shape of the request's errors; None is ours."""
    path = asked.path
    if path == "/api/chat" or path.startswith("/api/chat/"):
        return Shape.AI_SDK
    if path != "/v1" and not path.startswith("/v1/"):
        return None
    is_anthropic = path == "/v1/messages" or path.startswith("/v1/messages/")
    return Shape.ANTHROPIC if is_anthropic or "anthropic-version" in asked.headers else Shape.OPENAI


def shaped(error: CoworkError) -> Response | None:
    """The error's reply in the request's shape; None where that is ours."""
    shape = shape_of(request_ctx.request)
    if shape is None:
        return None
    row = row_of(error)
    param = error.facts.get("field")
    reply = _reply(shape, row, error.message, error.code, param)
    if error.retry_after is not None or _may_ask_again(row):
        reply.headers["Retry-After"] = str(error.retry_after or RETRY_AFTER_S)
    return reply


def shaped_faults(faults: list[dict[str, Any]]) -> Response | None:
    """The reply of a request that does not fit its schema: 400, with the first of its faults."""
    shape = shape_of(request_ctx.request)
    if shape is None:
        return None
    fault = faults[0]
    names = [
        each for each in fault["loc"][1:] if isinstance(each, str)
    ]  # a number alone is an offset
    place = ".".join(map(str, fault["loc"][1:])) if names else ""
    row = row_of(InvalidValue(fault["msg"], field=place))
    return _reply(shape, row, fault["msg"], InvalidValue.code, place or None)


def shaped_status(status: int, message: str, code: str) -> Response | None:
    """The reply of what HTTP itself refuses, in the request's shape; None where that is ours."""
    shape = shape_of(request_ctx.request)
    return None if shape is None else _reply(shape, row_of_status(status), message, code)


def _may_ask_again(row: ErrorRow) -> bool:
    return row.was_not_asked and not app_ctx.g.get("was_asked", False)


def _reply(
    shape: Shape, row: ErrorRow, message: str, code: str, param: str | None = None
) -> Response:
    status = row.status
    if shape is Shape.AI_SDK:
        reply = Response(message, mimetype="text/plain")
        reply.headers["X-Error-Code"] = code
    elif shape is Shape.ANTHROPIC:
        told = f"{param}: {message}" if param else message
        reply = jsonify(anthropic_error(row, told, app_ctx.g.get("request_id")))
        status = row.anthropic_status or status
    else:
        reply = jsonify(openai_error(row, message, code, param))
    reply.status_code = status
    # The client's own retries do what this says, whatever the status.
    reply.headers["x-should-retry"] = "true" if _may_ask_again(row) else "false"
    return reply
