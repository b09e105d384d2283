"""Errors as replies: the one table from our errors to statuses, and the shapes of the contract.

Every error is `{"detail": {"error", "code", ...facts}}`, a validation error
`{"detail": [{"type", "loc", "msg"}]}`; 404 and 405 of unknown routes keep the old service's words.
Clients of other APIs get theirs (`error_shapes.py`).
"""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, jsonify
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException, UnsupportedMediaType

from cowork import errors
from cowork.errors import CoworkError
from cowork.log import logger
from cowork.turns.outcome import without_traceback
from cowork.web.error_shapes import shaped, shaped_faults, shaped_status

log = logger(__name__)

# Of what is wrong with a request this many faults are told: the first is what helps.
MAX_FAULTS = 20

STATUS: dict[type[CoworkError], int] = {
    errors.ClaudeUnavailable: 503,
    errors.ClaudeNotAuthenticated: 503,
    errors.ClaudeRateLimited: 429,
    errors.ClaudeOverloaded: 503,
    errors.ClaudeApiError: 502,
    errors.ClaudeTimeout: 504,
    errors.ClaudeFailed: 502,
    errors.ModelNotFound: 422,
    errors.SessionUnusable: 502,
    errors.TurnInterrupted: 409,
    errors.TurnNotFound: 404,
    errors.TurnExpired: 410,
    errors.PreviousResponseNotFound: 404,
    errors.TurnEnded: 409,
    errors.WorkerLost: 502,
    errors.WorkerUnreachable: 503,
    errors.SessionNotFound: 404,
    errors.SessionExists: 409,
    errors.FilesNotRestored: 409,
    errors.ProcessNotFound: 404,
    errors.ProcessBusy: 409,
    errors.ProjectBusy: 409,
    errors.QueueFull: 429,
    errors.MaxTurnsReached: 502,
    errors.BudgetReached: 502,
    errors.ApprovalNotFound: 404,
    errors.ApprovalResolved: 409,
    errors.ApprovalExpired: 410,
    errors.IdempotencyMismatch: 422,
    errors.AtCapacity: 503,
    errors.ShuttingDown: 503,
    errors.StoreUnavailable: 503,
    errors.OutboxFull: 503,
    errors.Internal: 500,
    errors.Unauthorized: 401,
    errors.TooManyAttempts: 429,
    errors.TooManyTickets: 429,
    errors.Forbidden: 403,
    errors.MissingAuthSession: 400,
    errors.NotLoggedIn: 401,
    errors.BadUpstream: 502,
    errors.UpstreamTimeout: 504,
}

_HTTP_CODES = {
    404: ("not_found", "there is no such route"),
    405: ("method_not_allowed", "this route does not have that method"),
    400: ("bad_request", "the request cannot be understood"),
    408: ("request_timeout", "the request took too long"),
    413: ("payload_too_large", "the request's body is too large"),
    415: ("unsupported_media_type", "the body must be JSON: send Content-Type: application/json"),
}


class ClientClosedRequest(Exception):
    """The client disconnected before its reply (nginx's 499)."""


class UnsupportedContentEncoding(UnsupportedMediaType):
    """A body that is compressed."""

    description = "the body must not be compressed: send it without Content-Encoding"

    def get_headers(self, *given: Any, **named: Any) -> list[tuple[str, str]]:
        """As RFC 9110, 12.5.3, has it for a 415 by the coding."""
        return [*super().get_headers(*given, **named), ("Accept-Encoding", "identity")]


class InvalidBody(Exception):
    """A request that does not fit its schema; `faults` is the list that the client gets."""

    def __init__(self, faults: list[dict[str, Any]]) -> None:
        super().__init__("the request does not fit its schema")
        self.faults = faults


def status_of(error: CoworkError) -> int:
    """The HTTP status of an error; its class's, or its nearest parent's."""
    if isinstance(error, errors.UpstreamRefused):
        return error.status
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def problem(error: CoworkError) -> Response:
    """An error's reply."""
    reply = shaped(error)
    if reply is None:
        reply = jsonify({"detail": {"error": error.message, "code": error.code, **error.facts}})
        reply.status_code = status_of(error)
        if error.retry_after is not None:
            reply.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.Unauthorized):
        reply.headers["WWW-Authenticate"] = 'Bearer realm="xo-cowork-api"'
    return reply


def invalid(faults: list[dict[str, Any]]) -> Response:
    """A validation error's reply, with the first `MAX_FAULTS` of its faults."""
    reply = shaped_faults(faults)
    if reply is None:
        reply = jsonify({"detail": faults[:MAX_FAULTS]})
        reply.status_code = 422
    return reply


def faults_of(error: ValidationError) -> list[dict[str, Any]]:
    """Marshmallow's messages as the contract's list.

    They are nested by location: `{"json": {"question": [...]}}`.
    """
    found: list[dict[str, Any]] = []
    messages = error.messages if isinstance(error.messages, dict) else {"json": error.messages}
    for location, message in messages.items():
        _collect(message, ["body" if location == "json" else str(location)], found)
    return found


def _collect(message: Any, loc: list[Any], found: list[dict[str, Any]]) -> None:
    if len(found) >= MAX_FAULTS:
        return
    if isinstance(message, dict) and "msg" in message:
        found.append(
            {"type": message.get("type", "value_error"), "loc": loc, "msg": message["msg"]}
        )
    elif isinstance(message, dict):
        for key, inner in message.items():
            _collect(inner, loc if key == "_schema" else [*loc, key], found)
    elif isinstance(message, list):
        for inner in message:
            _collect(inner, loc, found)
    else:
        found.append({"type": "value_error", "loc": loc, "msg": str(message)})


def register(app: Flask) -> None:
    """Make every way a request can fail end in a reply of the contract's shape."""

    @app.errorhandler(CoworkError)
    def on_cowork_error(error: CoworkError) -> Response:
        without_traceback(error)  # it may be a turn's, which is kept
        if isinstance(error, errors.InvalidValue):
            loc = ["body", error.field]
            return invalid([{"type": "value_error", "loc": loc, "msg": error.message}])
        return problem(error)

    @app.errorhandler(ClientClosedRequest)
    def on_client_closed_request(_error: ClientClosedRequest) -> Response:
        return Response(status=499)  # for the log; nobody reads it

    @app.errorhandler(InvalidBody)
    def on_invalid(error: InvalidBody) -> Response:
        return invalid(error.faults)

    @app.errorhandler(HTTPException)
    def on_http_error(error: HTTPException) -> Response:
        return _http_problem(error)

    @app.errorhandler(Exception)
    def on_anything(error: Exception) -> Response:
        log.error("unhandled exception in request", exc_info=error)
        return problem(errors.Internal("internal server error; see the server log"))


def _http_problem(error: HTTPException) -> Response:
    if error.response is not None or error.code is None or error.code < 400:  # noqa: PLR2004
        return error.get_response()  # type: ignore[return-value] # redirects
    default = (error.name.lower().replace(" ", "_"), error.name)
    code, sentence = _HTTP_CODES.get(error.code, default)
    if isinstance(error, UnsupportedContentEncoding):
        sentence = error.description
    reply = shaped_status(error.code, sentence, code)
    if reply is None:
        is_bare = error.code in {404, 405}
        reply = jsonify({"detail": error.name if is_bare else {"error": sentence, "code": code}})
    reply.status_code = error.code
    for name, value in error.get_headers():
        if name in {"Accept-Encoding", "Allow", "Retry-After"}:
            reply.headers[name] = value
    return reply
