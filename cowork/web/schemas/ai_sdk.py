"""The AI SDK's chats; their requests are read by `cowork/dialects/ai_sdk/reading.py`."""

from __future__ import annotations

from marshmallow import fields, validate

from cowork.web.schemas.base import EVENTS, Schema

_MESSAGE = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "What is 2+2?"}]}


class UiChatBody(Schema):
    """What `useChat` sends, and what its transport's `body` may add."""

    id = fields.String(
        allow_none=True, metadata={"description": "The chat, which is the session's name."}
    )
    messages = fields.List(
        fields.Dict(),
        metadata={"description": "The whole chat, the user's last.", "examples": [[_MESSAGE]]},
    )
    message = fields.Dict(
        metadata={"description": "The new message alone; the session goes on.", "minProperties": 1}
    )
    trigger = fields.String(
        validate=validate.OneOf(("submit-message", "regenerate-message")),
    )
    model = fields.String(allow_none=True)
    system = fields.String(allow_none=True)
    effort = fields.Raw()
    permission_mode = fields.String(allow_none=True)
    events = fields.List(
        fields.String(validate=validate.OneOf(EVENTS)),
        metadata={"description": "Which events besides text; `tool` and `thinking` if not there."},
    )


class UiMessageReply(Schema):
    """A message for the hook's `messages`."""

    id = fields.String(metadata={"description": "An assistant's is its turn's."})
    role = fields.String(validate=validate.OneOf(("user", "assistant")))
    parts = fields.List(fields.Dict())
