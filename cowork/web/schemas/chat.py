"""Chat completions; their requests are read by `cowork/dialects/chat/reading.py`."""

from __future__ import annotations

from marshmallow import fields

from cowork.web.schemas.base import Schema
from cowork.web.schemas.dialects import AnswerFacts


class ChatBody(Schema):
    """OpenAI's; other keys are ignored, and told in `X-Cowork-Ignored` where that matters."""

    messages = fields.List(
        fields.Dict(),
        required=True,
        metadata={
            "minItems": 1,
            "description": "The conversation; the last run of user messages is the question.",
            "examples": [[{"role": "user", "content": "What is 2+2?"}]],
        },
    )
    model = fields.String(
        allow_none=True, metadata={"description": "An id of `GET /v1/models`, or none."}
    )
    stream = fields.Boolean(allow_none=True)
    stream_options = fields.Dict(allow_none=True)
    response_format = fields.Dict(allow_none=True)
    tools = fields.List(fields.Dict(), allow_none=True)
    tool_choice = fields.Raw(
        metadata={"description": "One tool that is forced is the shape of the answer."}
    )
    reasoning_effort = fields.Raw()
    n = fields.Raw(metadata={"description": "1."})
    user = fields.Raw(metadata={"description": "The person who asks, never a session."})


class ChatMessage(Schema):
    role = fields.String()
    content = fields.String(allow_none=True)
    refusal = fields.String(allow_none=True)
    tool_calls = fields.List(fields.Dict())


class ChatChoice(Schema):
    index = fields.Integer()
    message = fields.Nested(ChatMessage)
    logprobs = fields.Raw(allow_none=True)
    finish_reason = fields.String()


class ChatUsage(Schema):
    prompt_tokens = fields.Integer()
    completion_tokens = fields.Integer()
    total_tokens = fields.Integer()
    prompt_tokens_details = fields.Dict()
    completion_tokens_details = fields.Dict()


class ChatCompletion(Schema):
    id = fields.String()
    object = fields.String()
    created = fields.Integer()
    model = fields.String()
    choices = fields.List(fields.Nested(ChatChoice))
    usage = fields.Nested(ChatUsage)
    cowork = fields.Nested(AnswerFacts)
