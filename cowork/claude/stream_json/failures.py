"""What a result of the CLI that is no answer means: one of our errors.

The CLI marks API failures `subtype: "success", is_error: true`, with the kind on the synthetic
`assistant` message before it and the HTTP status in `api_error_status`, each of which may be
missing.
"""

from __future__ import annotations

import re
import time
from typing import Any

from cowork.errors import (
    ClaudeApiError,
    ClaudeError,
    ClaudeFailed,
    ClaudeNotAuthenticated,
    ClaudeOverloaded,
    ClaudeRateLimited,
    ClaudeUnavailable,
    ModelNotFound,
)

_AUTHENTICATION = {"authentication_failed", "oauth_org_not_allowed"}
_LIMITS = {"rate_limit", "billing_error"}
_SENTENCE = 500
# Bad request, payload too large.  The first is also said to whom no request would be answered.
_REFUSED = {400, 413}
_NOT_FOR_WHAT_IT_HELD = re.compile(
    r"credit balance|usage limit|api key|organi[sz]ation|selected model", re.IGNORECASE
)
# The CLI names the gateway it was told to use, which is the operator's business alone.
_ADDRESS = re.compile(r"\s*\(?\b(?:https?://[^\s)]+|[\w.-]+:\d{2,5})\b\)?")


class SessionMissing(ClaudeFailed):
    """`--resume` of a session that the CLI does not have."""


class DirectoryGone(SessionMissing):
    """The session's directory is not there any more."""


class RequestRefused(ClaudeApiError):
    """The model's service refused what it was sent: the question, or what was said before it."""


class ProcessGone(ClaudeFailed):
    """The process was dead before it had read the question, so asking another one is safe."""


class SessionInUse(ClaudeFailed):
    """`--session-id` of a session that the CLI already has."""


def login_advice(path: str | None = None) -> str:
    """How to log the CLI in that is at this path."""
    return (
        f"run `{path or 'claude'} /login` as the user who runs the CLI, or set ANTHROPIC_API_KEY "
        "in the server's environment; `make demo` needs no account"
    )


def from_result(  # noqa: PLR0911 - a table
    result: dict[str, Any], kind: str | None, resets_at: float | None
) -> ClaudeError:
    """The error of a `result` with `is_error`.

    `kind` is the `error` of the last synthetic assistant message; `resets_at` the Unix time of
    the last rejected `rate_limit_event`.
    """
    status = result.get("api_error_status")
    status = status if isinstance(status, int) else None
    said = sentence(result.get("result") or _first(result.get("errors")))
    if said.startswith("No conversation found"):
        return SessionMissing("the CLI has no such session")
    if kind in _AUTHENTICATION or status == 401 or said.startswith("Not logged in"):  # noqa: PLR2004
        return ClaudeNotAuthenticated(f"the Claude CLI is not logged in: {login_advice()}")
    if kind in _LIMITS or status in {402, 429}:
        return ClaudeRateLimited(
            f"Claude's usage limit is reached: {said}", retry_after=_seconds_until(resets_at)
        )
    if kind == "overloaded" or status == 529 or "verloaded" in said:  # noqa: PLR2004
        return ClaudeOverloaded("the model's service is overloaded, try again soon")
    if status == 404 or kind == "model_not_found":  # noqa: PLR2004
        return ModelNotFound(f"the model's service has no such model: {said}")
    subtype = str(result.get("subtype", ""))
    if subtype == "success" or status is not None:
        facts = {"api_status": status} if status is not None else {}
        failure = RequestRefused if _is_refused(status, kind, said) else ClaudeApiError
        return failure(f"the model's service failed: {said or 'no reason given'}", **facts)
    return ClaudeFailed(f"the Claude CLI gave up ({subtype}): {said}", reason=subtype)


def _is_refused(status: int | None, kind: str | None, said: str) -> bool:
    """Whether it is for what the request held, which is mostly what was said before."""
    if _NOT_FOR_WHAT_IT_HELD.search(said):
        return False
    if status is None:
        return kind == "invalid_request" or said.lower().startswith("prompt is too long")
    return status in _REFUSED


def from_death(code: int | None, stderr: str, *, spoke: bool) -> ClaudeError:
    """The error of a process that ended without a result.

    `code` is as of `Popen.returncode`, `stderr` its tail; what it says goes to the log, not into
    a reply.  `spoke` is whether it ever printed a message: one that never did, never started.
    """
    if "No conversation found" in stderr:
        return SessionMissing("the CLI has no such session")
    if "is already in use" in stderr:
        return SessionInUse("the CLI already has a session of this id")
    facts: dict[str, Any] = {"exit_code": code}
    if code is not None and code < 0:
        facts = {"signal": -code}
    if not spoke:
        return ClaudeUnavailable(
            "the Claude CLI could not be started; see the server's log", **facts
        )
    return ClaudeFailed("the Claude CLI ended in the middle of the turn", **facts)


def sentence(said: Any) -> str:
    """What the CLI said, as one bounded line."""
    line = " ".join(_ADDRESS.sub("", str(said or "")).split())
    return line if len(line) <= _SENTENCE else line[: _SENTENCE - 1] + "…"


def _first(errors: Any) -> Any:
    return errors[0] if isinstance(errors, list) and errors else ""


def _seconds_until(unix: float | None) -> int | None:
    # Wall clock on purpose: the CLI names a moment, not a duration.
    return max(1, round(unix - time.time())) if unix else None
