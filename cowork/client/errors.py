"""What can go wrong in a call, by what a program would do about it.

CoworkError
├── Unreachable         nobody answers, or only a proxy does
├── BadReply            what came is no answer of this API
├── RequestFailed       the server said no: any status that is not below
│   ├── Unauthorized    401, 403: no key, a wrong one, or one that may not
│   ├── NotFound        404, 410: not there, or no longer kept
│   ├── Conflict        409: the project is busy, somebody else was first
│   ├── InvalidRequest  400, 413, 415, 422: the request does not fit
│   └── TryLater        429, 503: over a limit, or unavailable
├── TurnFailed          the question was asked, and its turn failed or was interrupted
└── DeadlineExceeded    the client's own deadline has passed
"""

from __future__ import annotations

from typing import Any

MAX_SENTENCE = 2000
# Refusals that go by: the server restarts, or a part that it needs does.
PASSING = frozenset(
    {
        "server_unreachable",
        "shutting_down",
        "store_unavailable",
        "unreachable",
        "worker_unreachable",
    }
)
_PROXY_STATUSES = frozenset({502, 503, 504})


class CoworkError(Exception):
    """A call failed.

    `sentence` says what happened to a person, `code` is stable (the table of errors in
    docs/api.md), `status` is HTTP's (0 where no reply came), `retry_after` the seconds after which
    the server says to try again, `detail` what it said whole, `request_id` names the request in
    the server's log.
    """

    def __init__(
        self,
        sentence: str,
        *,
        code: str,
        status: int = 0,
        retry_after: float | None = None,
        detail: Any = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(sentence[:MAX_SENTENCE])
        self.sentence = sentence[:MAX_SENTENCE]
        self.code = code
        self.status = status
        self.retry_after = retry_after
        self.detail = detail
        self.request_id = request_id

    @property
    def is_passing(self) -> bool:
        """Whether the same request may well be answered a moment later."""
        return self.code in PASSING


class Unreachable(CoworkError):
    """Nobody answers at the server's address, or a proxy says that nobody does.

    `was_connected` is false where nothing of the request can have come to the server.
    """

    was_connected = True


class BadReply(CoworkError):
    """What came is no answer of this API: another server's, or too large."""


class RequestFailed(CoworkError):
    """The server refused the request."""


class Unauthorized(RequestFailed):
    """No key, a wrong one, or one that may not do this."""


class NotFound(RequestFailed):
    """There is no such thing, or it is no longer kept."""


class Conflict(RequestFailed):
    """Something else goes on, or somebody else was first."""


class InvalidRequest(RequestFailed):
    """The request does not fit; `faults` has the place of each fault where the server says it."""

    @property
    def faults(self) -> tuple[str, ...]:
        """The dotted place of each fault in the body, such as `approvals`."""
        listed = self.detail if isinstance(self.detail, list) else []
        return tuple(_place(each) for each in listed if isinstance(each, dict))


class TryLater(RequestFailed):
    """Over a limit, or unavailable; `retry_after` says when to try again, where that is known."""


class TurnFailed(CoworkError):
    """The turn of the question ended without an answer; `text` is what it said till then."""

    def __init__(self, sentence: str, *, code: str, turn_id: str | None, text: str) -> None:
        super().__init__(sentence, code=code)
        self.turn_id = turn_id
        self.text = text


class DeadlineExceeded(CoworkError):
    """The deadline that the program gave has passed; the turn may go on."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no end within {seconds:g} s", code="deadline_exceeded")


_KINDS: dict[int, type[RequestFailed]] = {
    **dict.fromkeys((401, 403), Unauthorized),
    **dict.fromkeys((404, 410), NotFound),
    409: Conflict,
    **dict.fromkeys((400, 413, 415, 422), InvalidRequest),
    **dict.fromkeys((429, 503), TryLater),
}


def unreachable(why: str) -> Unreachable:
    """Nobody answered; `why` is the operating system's word for it."""
    return Unreachable(f"the server cannot be reached: {why}", code="unreachable")


def refusal(
    status: int, body: Any, *, retry_after: float | None, request_id: str | None
) -> CoworkError:
    """The error of a reply that is none of success; `body` is its JSON, None where it has none."""
    detail = body.get("detail") if isinstance(body, dict) else None
    sentence, code = _describe(status, detail)
    kind: type[CoworkError] = _KINDS.get(status, RequestFailed)
    if code == "server_unreachable":
        kind = Unreachable
    return kind(
        sentence,
        code=code,
        status=status,
        retry_after=retry_after,
        detail=detail,
        request_id=request_id,
    )


def _describe(status: int, detail: Any) -> tuple[str, str]:
    if isinstance(detail, list):
        faults = [each for each in detail if isinstance(each, dict)]
        said = "; ".join(f"{_place(each) or 'request'}: {each.get('msg')}" for each in faults)
        return said or f"the server answered {status}", "invalid_request"
    if isinstance(detail, dict):
        sentence, code = detail.get("error"), detail.get("code")
        return str(sentence or f"the server answered {status}"), str(code or f"http_{status}")
    if isinstance(detail, str) and detail:
        return detail, f"http_{status}"
    # A proxy's page, not this server's answer.
    code = "server_unreachable" if status in _PROXY_STATUSES else f"http_{status}"
    return f"the server answered {status}", code


def _place(fault: dict[str, Any]) -> str:
    place = fault.get("loc")
    return ".".join(str(part) for part in place[1:]) if isinstance(place, list) else ""
