"""Anthropic's messages; their requests are read by `cowork/dialects/messages/reading.py`."""

from __future__ import annotations

from marshmallow import fields

from cowork.web.schemas.base import Schema
from cowork.web.schemas.dialects import AnswerFacts


class CountTokensBody(Schema):
    """A conversation as Anthropic's clients send it."""

    messages = fields.List(
        fields.Dict(),
        required=True,
        metadata={
            "minItems": 1,
            "description": "The conversation; the last run of user messages is the question.",
            "examples": [[{"role": "user", "content": "What is 2+2?"}]],
        },
    )
    system = fields.Raw(metadata={"description": "A text, or blocks of text."})
    model = fields.String(
        allow_none=True, metadata={"description": "An id of `GET /v1/models`, or none."}
    )
    tools = fields.List(fields.Dict(), allow_none=True)


class MessagesBody(CountTokensBody):
    """Anthropic's; other keys are ignored, and told in `X-Cowork-Ignored` where that matters."""

    stream = fields.Boolean(allow_none=True)
    max_tokens = fields.Raw(metadata={"description": "Not followed."})
    tool_choice = fields.Raw(
        metadata={"description": "One tool that is forced is the shape of the answer."}
    )
    output_config = fields.Dict(allow_none=True)
    thinking = fields.Dict(allow_none=True)
    metadata = fields.Dict(allow_none=True)


class MessagesUsage(Schema):
    input_tokens = fields.Integer()
    cache_creation_input_tokens = fields.Integer()
    cache_read_input_tokens = fields.Integer()
    output_tokens = fields.Integer()


class AnthropicMessage(Schema):
    id = fields.String()
    type = fields.String()
    role = fields.String()
    model = fields.String()
    content = fields.List(fields.Dict())
    stop_reason = fields.String()
    stop_sequence = fields.String(allow_none=True)
    usage = fields.Nested(MessagesUsage)
    cowork = fields.Nested(AnswerFacts)


class TokenCount(Schema):
    input_tokens = fields.Integer(metadata={"description": "An estimate."})


class AnthropicProblem(Schema):
    type = fields.String()
    message = fields.String()


class AnthropicError(Schema):
    type = fields.String()
    error = fields.Nested(AnthropicProblem)
    request_id = fields.String(allow_none=True)
