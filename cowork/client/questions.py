"""What a question may bring along: the keys of docs/api.md, and files."""

from __future__ import annotations

import base64
from typing import Any, Literal, TypedDict

EventKind = Literal["tool", "thinking", "status", "approval", "usage", "subagent", "todo"]

# The most that the server takes of them all; refused here before they are sent.
MAX_ATTACHED_BYTES = 30 * 2**20 * 3 // 4
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
)
_TEXTS = {".md": "text/markdown", ".markdown": "text/markdown", ".csv": "text/csv"}


class Attachment(TypedDict, total=False):
    """A file in a question; `data` is base64."""

    type: Literal["image", "document"]
    media_type: str
    data: str
    name: str


class Options(TypedDict, total=False):
    """How to answer; what is left out is the server's default.  docs/api.md has the meanings."""

    model: str
    effort: Literal["low", "medium", "high", "xhigh", "max"]
    permission_mode: Literal["plan", "default", "acceptEdits"]
    system_prompt: str
    output_schema: dict[str, Any]
    attachments: list[Attachment]
    max_turns: int
    max_budget_usd: float
    disallowed_tools: list[str]
    mcp_servers: list[str]
    approvals: bool
    approval_timeout: float
    on_busy: Literal["queue", "reject", "interrupt", "steer"]
    timeout: float
    agent_type: str
    user_id: str
    message_type: str
    events: list[EventKind]


def attachment(content: bytes, name: str) -> Attachment:
    """The file as the server takes it, its type read from its bytes; for text, from its name too.

    Raises ValueError where it is none of the kinds that the server takes.
    """
    kind = _media_type(content, name)
    return {
        "type": "image" if kind.startswith("image/") else "document",
        "media_type": kind,
        "data": base64.b64encode(content).decode(),
        "name": name,
    }


def _media_type(content: bytes, name: str) -> str:
    for signature, kind in _SIGNATURES:
        if content.startswith(signature):
            return kind
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    try:
        content.decode()
    except UnicodeDecodeError:
        raise ValueError("neither png, jpeg, gif, webp or pdf, nor UTF-8 text") from None
    return next((kind for end, kind in _TEXTS.items() if name.lower().endswith(end)), "text/plain")
