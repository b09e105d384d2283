"""Every way we fail, in one tree, with no HTTP in it.

    CoworkError                     code
    ├── ClaudeError
    │   ├── ClaudeUnavailable       claude_unavailable        the CLI is missing or won't start
    │   ├── ClaudeNotAuthenticated  claude_not_authenticated  no login, or it was refused
    │   ├── ClaudeRateLimited       claude_rate_limited       usage or rate limit
    │   ├── ClaudeOverloaded        claude_overloaded         the model's service is overloaded
    │   ├── ClaudeApiError          claude_api_error          the model's service failed
    │   ├── ClaudeTimeout           claude_timeout            the turn ran out of time
    │   ├── ClaudeFailed            claude_failed             the CLI died or spoke nonsense
    │   ├── ModelNotFound           model_not_found           the model's service has no such model
    │   └── SessionUnusable         session_unusable          the model refuses its history
    ├── TurnError
    │   ├── TurnInterrupted         turn_interrupted
    │   ├── TurnNotFound            turn_not_found
    │   ├── TurnEnded               turn_ended                nothing can be said to it any more
    │   ├── TurnExpired             turn_expired
    │   ├── WorkerLost              worker_lost
    │   ├── WorkerUnreachable       worker_unreachable        another worker runs it
    │   ├── SessionNotFound         session_not_found         the project has none
    │   ├── PreviousResponseNotFound  previous_response_not_found  what a response goes on from
    │   ├── SessionExists           session_exists            the project has one
    │   ├── FilesNotRestored        files_not_restored        by a rewind
    │   ├── ProcessNotFound         process_not_found
    │   ├── ProcessBusy             process_busy
    │   ├── ProjectBusy             project_busy
    │   ├── QueueFull               queue_full
    │   ├── MaxTurnsReached         max_turns_reached         the request's own limit
    │   ├── BudgetReached           budget_reached            the request's own limit
    │   └── IdempotencyMismatch     idempotency_mismatch
    ├── ApprovalError
    │   ├── ApprovalNotFound        approval_not_found
    │   ├── ApprovalResolved         approval_resolved         somebody else was quicker
    │   └── ApprovalExpired         approval_expired
    ├── ServerError
    │   ├── AtCapacity              at_capacity
    │   ├── ShuttingDown            shutting_down
    │   ├── StoreUnavailable        store_unavailable
    │   ├── OutboxFull              outbox_full
    │   └── Internal                internal                  an unhandled exception of ours
    ├── AccessError
    │   ├── Unauthorized            unauthorized
    │   ├── TooManyAttempts         too_many_attempts         wrong keys
    │   ├── TooManyTickets          too_many_tickets          of one turn
    │   └── Forbidden               forbidden
    └── LoginError                                            the XO login and its upstream
        ├── MissingAuthSession      missing_auth_session
        ├── NotLoggedIn             not_logged_in
        ├── UpstreamRefused         upstream_refused          carries the upstream's 4xx and body
        ├── BadUpstream             bad_upstream
        └── UpstreamTimeout         upstream_timeout

`InvalidValue` is apart: a value of the request that only a deeper layer could judge.
An error carries its facts as fields; nobody matches its sentence.
`web/problems.py` holds the one table from these to statuses.
"""

from __future__ import annotations

from typing import Any, ClassVar


class CoworkError(Exception):
    """A failure with a stable `code`, one sentence for a person and its facts.

    `facts` go into the reply as they are, so they never hold a secret.
    `retry_after` is whole seconds, where waiting helps and the time is known.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, retry_after: int | None = None, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.facts: dict[str, Any] = facts


class ClaudeError(CoworkError):
    """Anything that went wrong between us and an answer of the CLI."""


class ClaudeUnavailable(ClaudeError):
    code = "claude_unavailable"


class ClaudeNotAuthenticated(ClaudeError):
    code = "claude_not_authenticated"


class ClaudeRateLimited(ClaudeError):
    code = "claude_rate_limited"


class ClaudeOverloaded(ClaudeError):
    code = "claude_overloaded"


class ClaudeApiError(ClaudeError):
    code = "claude_api_error"


class ClaudeTimeout(ClaudeError):
    code = "claude_timeout"


class ClaudeFailed(ClaudeError):
    code = "claude_failed"


class ModelNotFound(ClaudeError):
    code = "model_not_found"


class SessionUnusable(ClaudeError):
    code = "session_unusable"


class TurnError(CoworkError):
    """Anything about turns themselves."""


class TurnInterrupted(TurnError):
    code = "turn_interrupted"


class TurnNotFound(TurnError):
    code = "turn_not_found"


class TurnExpired(TurnError):
    code = "turn_expired"


class TurnEnded(TurnError):
    """The turn has ended, so that nothing can be said to it any more."""

    code = "turn_ended"


class WorkerLost(TurnError):
    code = "worker_lost"


class WorkerUnreachable(TurnError):
    code = "worker_unreachable"


class SessionNotFound(TurnError):
    code = "session_not_found"


class PreviousResponseNotFound(TurnError):
    """The turn behind which a client of OpenAI's Responses goes on is unknown, or another's."""

    code = "previous_response_not_found"


class SessionExists(TurnError):
    code = "session_exists"


class FilesNotRestored(TurnError):
    code = "files_not_restored"


class ProcessNotFound(TurnError):
    code = "process_not_found"


class ProcessBusy(TurnError):
    code = "process_busy"


class ProjectBusy(TurnError):
    code = "project_busy"


class QueueFull(TurnError):
    code = "queue_full"


class MaxTurnsReached(TurnError):
    code = "max_turns_reached"


class BudgetReached(TurnError):
    code = "budget_reached"


class IdempotencyMismatch(TurnError):
    code = "idempotency_mismatch"


class ApprovalError(CoworkError):
    """Anything about the approvals that turns wait for."""


class ApprovalNotFound(ApprovalError):
    code = "approval_not_found"


class ApprovalResolved(ApprovalError):
    code = "approval_resolved"


class ApprovalExpired(ApprovalError):
    code = "approval_expired"


class ServerError(CoworkError):
    """The server itself cannot take the request now."""


class AtCapacity(ServerError):
    code = "at_capacity"


class ShuttingDown(ServerError):
    code = "shutting_down"


class StoreUnavailable(ServerError):
    """`outcome_unknown` is whether the store may have done all the same what it was asked."""

    code = "store_unavailable"
    outcome_unknown: bool = False


class OutboxFull(ServerError):
    code = "outbox_full"


class Internal(ServerError):
    code = "internal"


class AccessError(CoworkError):
    """The caller may not do this."""


class Unauthorized(AccessError):
    code = "unauthorized"


class TooManyAttempts(AccessError):
    code = "too_many_attempts"


class TooManyTickets(AccessError):
    code = "too_many_tickets"


class Forbidden(AccessError):
    code = "forbidden"


class LoginError(CoworkError):
    """The XO browser login, or the upstream it talks to."""


class MissingAuthSession(LoginError):
    code = "missing_auth_session"


class NotLoggedIn(LoginError):
    code = "not_logged_in"


class UpstreamRefused(LoginError):
    """The upstream answered 4xx: `status` is its own, `upstream` its body cut at 2 kB."""

    code = "upstream_refused"

    def __init__(self, message: str, *, status: int, upstream: str) -> None:
        super().__init__(message, upstream=upstream)
        self.status = status


class BadUpstream(LoginError):
    """`unsent` is whether the upstream cannot have seen the request."""

    code = "bad_upstream"
    unsent: bool = False


class UpstreamTimeout(LoginError):
    """`unsent` as in `BadUpstream`."""

    code = "upstream_timeout"
    unsent: bool = False


class InvalidValue(CoworkError):
    """A field of the request holds a value that cannot be used; becomes a validation error.

    `field`, which it is made with, is the body's key, as the client wrote it.
    """

    code = "invalid_value"

    @property
    def field(self) -> str:
        return str(self.facts["field"])


def error_fields(error: CoworkError) -> dict[str, Any]:
    """What an error is stored or sent as: what `restore_error` takes."""
    return {
        "code": error.code,
        "message": error.message,
        "facts": error.facts,
        "retry_after": error.retry_after,
    }


def restore_error(
    code: str, message: str, facts: dict[str, Any], retry_after: int | None
) -> CoworkError:
    """An error that was stored, by its code; `Internal` where there is no such code."""
    kinds = [CoworkError]
    while kinds:
        kind = kinds.pop()
        if kind.code == code and "__init__" not in vars(kind) and not kind.__subclasses__():
            return kind(message, retry_after=retry_after, **facts)
        kinds += kind.__subclasses__()
    return Internal(message, retry_after=retry_after, **facts)


# A turn that ended with one of these had not asked the CLI anything: its key is free again.
NOT_STARTED = (AtCapacity, ClaudeUnavailable, ShuttingDown, StoreUnavailable)
