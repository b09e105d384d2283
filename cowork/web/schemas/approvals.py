"""Approvals, and the answers to them."""

from __future__ import annotations

from marshmallow import fields, validate

from cowork.claude.launch_options import REQUESTED_MODES
from cowork.web.fields import JsonDict, Text, not_blank
from cowork.web.schemas.base import MAX_LABEL_BYTES, MAX_QUERY_BYTES, Schema

MAX_MESSAGE_BYTES = 4096
MAX_APPROVALS = 200


class ApprovalsQuery(Schema):
    project = Text(limit=MAX_LABEL_BYTES, load_default=None)
    turn = Text(limit=MAX_QUERY_BYTES, load_default=None)
    state = Text(load_default="pending", validate=validate.OneOf(("pending", "resolved")))
    limit = fields.Integer(load_default=MAX_APPROVALS, validate=validate.Range(1, MAX_APPROVALS))


class ApprovalBody(Schema):
    """What somebody has decided."""

    decision = Text(required=True, validate=validate.OneOf(("allow", "deny", "answer")))
    input = JsonDict(
        load_default=None,
        allow_none=True,
        metadata={"type": "object", "description": "The tool's input, changed."},
    )
    message = Text(
        limit=MAX_MESSAGE_BYTES,
        load_default=None,
        allow_none=True,
        validate=not_blank,
        metadata={"description": "What the model is told of a denial."},
    )
    interrupt = fields.Boolean(
        load_default=False,
        truthy={True},
        falsy={False},
        metadata={"description": "Ends the turn with the denial."},
    )
    remember = Text(
        load_default="once",
        validate=validate.OneOf(("once", "session")),
        metadata={"description": "`session`: apply the CLI's own suggestions, for its session."},
    )
    answers = JsonDict(
        load_default=None,
        allow_none=True,
        metadata={"type": "object", "description": "Text or texts, by the question's text."},
    )
    permission_mode = Text(
        load_default=None,
        allow_none=True,
        validate=validate.OneOf(REQUESTED_MODES),
        metadata={"description": "In which a plan is carried out."},
    )


class ApprovalReply(Schema):
    """A tool, a question or a plan that a turn waits for somebody to allow."""

    id = fields.String()
    turn_id = fields.String()
    project_id = fields.String(
        allow_none=True, metadata={"description": "null for a conversation without a name."}
    )
    key = fields.String(allow_none=True, metadata={"description": "Whose turn it is."})
    kind = fields.String(metadata={"description": "`tool`, `question` or `plan`."})
    tool = fields.String()
    state = fields.String(metadata={"description": "`pending` or `resolved`."})
    input = fields.Dict(metadata={"description": "While it waits."})
    input_digest = fields.String()
    reason = fields.String(allow_none=True)
    suggestions = fields.List(fields.Dict())
    questions = fields.List(fields.Dict())
    plan = fields.String(allow_none=True)
    subagent_id = fields.String(allow_none=True)
    created_at = fields.String()
    expires_at = fields.String()
    decision = fields.String(
        metadata={"description": "`allow`, `deny`, `answer`, `expired` or `cancelled`."}
    )
    decided_by = fields.String(allow_none=True)
    decided_at = fields.String()
    address = fields.String(allow_none=True)
    applied_at = fields.String(
        allow_none=True, metadata={"description": "When the CLI was told, if it was."}
    )


class ApprovalsReply(Schema):
    approvals = fields.List(fields.Nested(ApprovalReply))
    count = fields.Integer()
