"""OpenAI's responses; their requests are read by `cowork/dialects/responses/reading.py`."""

from __future__ import annotations

from marshmallow import fields, validate

from cowork.web.schemas.base import Schema
from cowork.web.schemas.dialects import AnswerFacts


class ResponseBody(Schema):
    """OpenAI's; other keys are ignored, and told in `X-Cowork-Ignored` where that matters."""

    input = fields.Raw(
        required=True,
        metadata={
            "description": "The question, or a list of items whose last messages are it.",
            "examples": ["What is 2+2?"],
        },
    )
    model = fields.String(
        allow_none=True, metadata={"description": "An id of `GET /v1/models`, or none."}
    )
    instructions = fields.String(allow_none=True)
    previous_response_id = fields.String(
        allow_none=True, metadata={"description": "Go on behind this response."}
    )
    conversation = fields.Raw(metadata={"description": "The session's name, or null."})
    stream = fields.Boolean(allow_none=True)
    background = fields.Boolean(
        allow_none=True, metadata={"description": "Answer at once; the turn goes on by itself."}
    )
    text = fields.Dict(allow_none=True)
    reasoning = fields.Dict(allow_none=True)
    tools = fields.List(fields.Dict(), allow_none=True)
    tool_choice = fields.Raw(
        metadata={"description": "One tool that is forced is the shape of the answer."}
    )
    metadata = fields.Dict(allow_none=True)
    user = fields.Raw(metadata={"description": "The person who asks, never a session."})


class ResponseQuery(Schema):
    """How a response is read."""

    stream = fields.String(
        load_default="false",
        validate=validate.OneOf(("true", "false")),
        metadata={"description": "Its events, from the first one on or from where one was."},
    )
    starting_after = fields.Integer(
        load_default=-1,
        validate=validate.Range(-1, 2**53),
        metadata={"description": "The `sequence_number` of the last event that was read."},
    )


class ResponseObject(Schema):
    id = fields.String()
    object = fields.String()
    created_at = fields.Integer()
    status = fields.String(
        validate=validate.OneOf(
            ("queued", "in_progress", "completed", "incomplete", "failed", "cancelled")
        )
    )
    background = fields.Boolean()
    error = fields.Dict(allow_none=True)
    incomplete_details = fields.Dict(allow_none=True)
    instructions = fields.String(allow_none=True)
    model = fields.String()
    output = fields.List(fields.Dict())
    parallel_tool_calls = fields.Boolean()
    previous_response_id = fields.String(allow_none=True)
    tools = fields.List(fields.Dict())
    tool_choice = fields.String()
    text = fields.Dict()
    temperature = fields.Float(allow_none=True)
    top_p = fields.Float(allow_none=True)
    max_output_tokens = fields.Integer(allow_none=True)
    metadata = fields.Dict()
    store = fields.Boolean()
    usage = fields.Dict(allow_none=True)
    cowork = fields.Nested(AnswerFacts)
