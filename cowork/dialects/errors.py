"""Our errors as other APIs tell them: the one table, and the two shapes.

OpenAI: `{"error": {"message", "type", "param", "code"}}`; Anthropic: `{"type": "error", "error":
{"type", "message"}, "request_id"}`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cowork import errors
from cowork.errors import CoworkError

# What a client waits before it asks again where the error does not know; seconds.
RETRY_AFTER_S = 1
NOT_FOUND = "not_found"
_INVALID = "invalid_request_error"


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One of our errors in the words of both APIs; `code` is OpenAI's, None is ours.

    `was_not_asked`: the CLI was asked nothing, so that to ask again does no work twice.
    `anthropic_status` is Anthropic's where it has one of its own.
    """

    status: int
    openai_type: str
    anthropic_type: str
    code: str | None = None
    was_not_asked: bool = False
    anthropic_status: int | None = None


_VALUE = ErrorRow(400, _INVALID, _INVALID)
_NOT_FOUND = ErrorRow(404, _INVALID, "not_found_error", NOT_FOUND)
_CONFLICT = ErrorRow(409, "conflict_error", _INVALID)
_LIMIT = ErrorRow(429, "rate_limit_error", "rate_limit_error")
_FAILED = ErrorRow(502, "server_error", "api_error")
_TIMEOUT = ErrorRow(504, "server_error", "timeout_error")
_UNAVAILABLE = ErrorRow(503, "server_error", "overloaded_error", was_not_asked=True)

ROWS: dict[type[CoworkError], ErrorRow] = {
    errors.ClaudeUnavailable: ErrorRow(503, "server_error", "api_error", was_not_asked=True),
    errors.ClaudeNotAuthenticated: ErrorRow(503, "server_error", "api_error"),
    errors.ClaudeRateLimited: _LIMIT,
    errors.ClaudeOverloaded: ErrorRow(
        503, "server_error", "overloaded_error", anthropic_status=529
    ),
    errors.ClaudeApiError: _FAILED,
    errors.ClaudeTimeout: _TIMEOUT,
    errors.ClaudeFailed: _FAILED,
    errors.ModelNotFound: ErrorRow(404, _INVALID, "not_found_error"),
    errors.SessionUnusable: _FAILED,
    errors.TurnInterrupted: _CONFLICT,
    errors.TurnNotFound: _NOT_FOUND,
    errors.TurnEnded: _CONFLICT,
    errors.TurnExpired: _NOT_FOUND,
    errors.WorkerLost: _FAILED,
    errors.WorkerUnreachable: _UNAVAILABLE,
    errors.SessionNotFound: _NOT_FOUND,
    errors.PreviousResponseNotFound: ErrorRow(404, _INVALID, "not_found_error"),
    errors.SessionExists: _CONFLICT,
    errors.FilesNotRestored: _CONFLICT,
    errors.ProcessNotFound: _NOT_FOUND,
    errors.ProcessBusy: _CONFLICT,
    errors.ProjectBusy: _CONFLICT,
    errors.QueueFull: ErrorRow(429, "rate_limit_error", "rate_limit_error", was_not_asked=True),
    errors.MaxTurnsReached: _CONFLICT,
    errors.BudgetReached: _CONFLICT,
    errors.IdempotencyMismatch: _VALUE,
    errors.ApprovalNotFound: _NOT_FOUND,
    errors.ApprovalResolved: _CONFLICT,
    errors.ApprovalExpired: _NOT_FOUND,
    errors.AtCapacity: ErrorRow(
        503, "server_error", "overloaded_error", was_not_asked=True, anthropic_status=529
    ),
    errors.ShuttingDown: _UNAVAILABLE,
    errors.StoreUnavailable: _UNAVAILABLE,
    errors.OutboxFull: _UNAVAILABLE,
    errors.Internal: ErrorRow(500, "server_error", "api_error"),
    errors.Unauthorized: ErrorRow(401, _INVALID, "authentication_error", "invalid_api_key"),
    errors.TooManyAttempts: _LIMIT,
    errors.TooManyTickets: _LIMIT,
    errors.Forbidden: ErrorRow(403, _INVALID, "permission_error"),
    errors.MissingAuthSession: _VALUE,
    errors.NotLoggedIn: ErrorRow(401, _INVALID, "authentication_error"),
    errors.UpstreamRefused: _FAILED,
    errors.BadUpstream: _FAILED,
    errors.UpstreamTimeout: _TIMEOUT,
    errors.InvalidValue: _VALUE,
}
_BY_CODE = {kind.code: row for kind, row in ROWS.items()}
# Of what HTTP itself refuses; any other status is a request that is wrong.
_BY_STATUS = {
    404: _NOT_FOUND,
    413: ErrorRow(413, _INVALID, "request_too_large"),
    429: _LIMIT,
}


def row_of(error: CoworkError) -> ErrorRow:
    """The row of an error: its class's, or its nearest parent's."""
    kinds = type(error).__mro__
    return next((ROWS[kind] for kind in kinds if kind in ROWS), ROWS[errors.Internal])


def row_of_code(code: str) -> ErrorRow:
    """The row of one of our codes, which is all that a turn's log tells of its error."""
    return _BY_CODE.get(code, ROWS[errors.Internal])


def row_of_status(status: int) -> ErrorRow:
    """The row of what HTTP itself refuses, a route that is not there or a body too large."""
    if status >= 500:  # noqa: PLR2004
        return ErrorRow(status, "server_error", "api_error")
    return _BY_STATUS.get(status) or ErrorRow(status, _INVALID, _INVALID)


def openai_error(
    row: ErrorRow, message: str, code: str | None, param: str | None = None
) -> dict[str, Any]:
    """OpenAI's error object; `code` is ours, of which the row may have another."""
    told = {"message": message, "type": row.openai_type, "param": param, "code": row.code or code}
    return {"error": told}


def anthropic_error(row: ErrorRow, message: str, request_id: str | None) -> dict[str, Any]:
    """Anthropic's error object."""
    told = {"type": row.anthropic_type, "message": message}
    return {"type": "error", "error": told, "request_id": request_id}
