"""A client of the XO Cowork API for Python programs: ask, stream, resume, answer approvals.

    from cowork.client import Client, Token

    with Client("http://localhost:5002", key="...") as client:
        print(client.ask("What is 2+2?", project="test").text)
        for event in client.stream("Explain it", project="test"):
            if isinstance(event, Token):
                print(event.text, end="", flush=True)

It uses the public HTTP API alone and imports nothing of the server.  docs/cli.md has an example.
"""

from cowork.client.client import Client
from cowork.client.errors import (
    BadReply,
    Conflict,
    CoworkError,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    RequestFailed,
    TryLater,
    TurnFailed,
    Unauthorized,
    Unreachable,
)
from cowork.client.events import (
    ApprovalRequested,
    ApprovalResolved,
    Done,
    Event,
    Failed,
    Other,
    Replace,
    Status,
    Subagent,
    Thinking,
    Todo,
    Token,
    ToolResult,
    ToolUse,
    TurnState,
    Usage,
)
from cowork.client.questions import Attachment, EventKind, Options, attachment
from cowork.client.stream import Answer, Lost, Stream

__all__ = [
    "Answer",
    "ApprovalRequested",
    "ApprovalResolved",
    "Attachment",
    "BadReply",
    "Client",
    "Conflict",
    "CoworkError",
    "DeadlineExceeded",
    "Done",
    "Event",
    "EventKind",
    "Failed",
    "InvalidRequest",
    "Lost",
    "NotFound",
    "Options",
    "Other",
    "Replace",
    "RequestFailed",
    "Status",
    "Stream",
    "Subagent",
    "Thinking",
    "Todo",
    "Token",
    "ToolResult",
    "ToolUse",
    "TryLater",
    "TurnFailed",
    "TurnState",
    "Unauthorized",
    "Unreachable",
    "Usage",
    "attachment",
]
