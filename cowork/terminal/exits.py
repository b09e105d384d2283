"""How a command ends: its exit status, and the sentence, code and cure of what went wrong."""

from __future__ import annotations

from cowork.client import Conflict, CoworkError, NotFound, TryLater, Unauthorized, Unreachable

# The table of docs/cli.md.
DONE = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
NOT_ALLOWED = 4
LATER = 5
NOT_FOUND = 6
INTERRUPTED = 130
BROKEN_PIPE = 141

# Said of a turn that had begun, too, where no status tells it.
_LATER = frozenset({"claude_overloaded", "claude_rate_limited", "project_busy", "shutting_down"})
_CURES = {
    "unreachable": "Is it running? `xo-cowork serve` starts one; COWORK_URL says where it is.",
    "server_unreachable": "The proxy is there and the server is not: look at the server's log.",
    "bad_reply": "Something else answers at this address: look at --url or COWORK_URL.",
    "unauthorized": "Put the server's API key into COWORK_KEY.",
    "forbidden": "This key, or this address of the server, is not let in: docs/access.md.",
    "too_many_attempts": "Wait a minute, then try the right key.",
    "claude_not_authenticated": "Run `claude /login` as the user who runs the server.",
    "claude_unavailable": "`xo-cowork health` says what is missing.",
    "claude_rate_limited": "The limit of the server's Claude login; it ends by itself.",
    "claude_overloaded": "It passes, mostly within a minute.",
    "claude_api_error": "Ask again.",
    "claude_timeout": "Ask again, or for less at a time.",
    "worker_lost": "The server was stopped in mid-answer. Ask again.",
    "turn_not_found": "With COWORK_STORE=memory:// a server forgets them at a restart.",
    "turn_expired": "`xo-cowork messages PROJECT` shows what was said.",
    "at_capacity": "All CLI processes are at work. Try again in a moment.",
    "queue_full": "Too many questions wait already. Try again when one is done.",
    "project_busy": "It answers another question; ask without --on-busy reject to wait for it.",
    "session_not_found": "`xo-cowork sessions` lists the projects that have one.",
    "session_unusable": "Ask in another project, or delete this one's session (docs/api.md).",
    "approval_not_found": "`xo-cowork approvals` lists what waits.",
    "payload_too_large": "Attach less.",
}


def status_of(fault: CoworkError) -> int:
    """The exit status that tells what went wrong."""
    if isinstance(fault, Unreachable):
        return UNREACHABLE
    if isinstance(fault, Unauthorized):
        return NOT_ALLOWED
    if fault.code in _LATER or isinstance(fault, TryLater):
        return LATER
    if fault.code == "turn_interrupted":
        return INTERRUPTED
    if isinstance(fault, NotFound):
        return NOT_FOUND
    return FAILED


def cure_of(fault: CoworkError) -> str | None:
    """What helps, where that is known."""
    cure = _CURES.get(fault.code)
    if fault.retry_after:
        again = f"The server says: again in {fault.retry_after:g} s."
        return f"{cure} {again}" if cure else again
    if cure is None and isinstance(fault, Conflict):
        return "Look again: something else was first."
    return cure


def told(fault: CoworkError) -> dict[str, object]:
    """What a program is told of it (`--json`)."""
    said: dict[str, object] = {"error": fault.sentence, "code": fault.code, "status": fault.status}
    more = {
        "retry_after": fault.retry_after,
        "turn_id": getattr(fault, "turn_id", None),
        "text": getattr(fault, "text", None),
        "request_id": fault.request_id,
    }
    return {"error": {**said, **{name: value for name, value in more.items() if value}}}
