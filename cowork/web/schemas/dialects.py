"""What the endpoints of other APIs have in common."""

from __future__ import annotations

from marshmallow import fields, validate

from cowork.web.schemas.base import EVENTS, ON_BUSY_CHANGE, Schema


class DialectHeaders(Schema):
    cowork_project = fields.String(
        data_key="X-Cowork-Project",
        metadata={"description": "The session's name, percent-encoded; without it see the docs."},
    )
    cowork_events = fields.String(
        data_key="X-Cowork-Events",
        metadata={"description": f"Which events to send besides text: {', '.join(EVENTS)}."},
    )
    on_busy = fields.String(
        data_key="X-On-Busy",
        validate=validate.OneOf(ON_BUSY_CHANGE),
        metadata={"description": "What to do while the session answers another question."},
    )


class OpenAiProblem(Schema):
    message = fields.String()
    type = fields.String()
    param = fields.String(allow_none=True)
    code = fields.String(allow_none=True)


class OpenAiError(Schema):
    error = fields.Nested(OpenAiProblem)


class AnswerFacts(Schema):
    """What is ours of an answer."""

    turn_id = fields.String()
    session_id = fields.String(allow_none=True)
    session_state = fields.String(
        validate=validate.OneOf(("new", "continued", "forked", "rebuilt"))
    )
    cost_usd = fields.Float(allow_none=True)
    duration_ms = fields.Integer(allow_none=True)
